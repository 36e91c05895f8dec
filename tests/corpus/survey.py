"""A table of a survey, which the written files hold in one form or another."""

import numpy as np
import pandas

ROWS = 120
KINDS = {"real": "height weight", "count": "visits", "binary": "smoker", "category": "city"}
"""What its columns hold."""


def table(rows=ROWS, seed=0):
    """Return the table."""
    random = np.random.default_rng(seed)
    height = random.normal(1.7, 0.1, rows)
    return pandas.DataFrame(
        {
            "height": height.round(3),
            "weight": (70 + 80 * (height - 1.7) + random.normal(0, 8, rows)).round(1),
            "visits": random.negative_binomial(2, 0.2, rows),
            "smoker": random.choice(["yes", "no"], rows),
            "city": random.choice(
                ["Bonn", "Köln", "Genève", "Łódź"], rows, p=[0.4, 0.3, 0.2, 0.1]
            ),
        }
    )


def western(rows=ROWS):
    """Return the table with letters that cp1252 has."""
    return table(rows).replace("Łódź", "Málaga")


def written(cells, **options):
    """Return a table as text, without numbers of the rows unless asked for."""
    return cells.to_csv(**{"index": False, **options})


def lines(cells, **options):
    """Return the lines of a table as text."""
    return written(cells, **options).splitlines()


def changed(change, rows=ROWS, **options):
    """Return the table as text after `change` has changed it; cells may become of any type."""
    cells = table(rows).astype(object)
    change(cells)
    return written(cells, **options)


def column(values, name="extra", rows=ROWS, **options):
    """Return the table as text with one more column."""
    cells = table(rows)
    cells.insert(2, name, list(values), allow_duplicates=True)
    return written(cells, **options)
