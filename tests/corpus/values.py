"""The survey with one more column, or with cells, that real tables have."""

import numpy as np

from tests.corpus import survey
from tests.corpus.case import Case, fit, refused, text

N, KINDS = survey.ROWS, survey.KINDS
RANDOM = np.random.default_rng(1)
NORMAL = RANDOM.normal(size=N)
WORDS = "sun rain wind snow hail fog dew frost heat cloud storm haze".split()


def _with(name, values, expected, column="extra", **options):
    """A column more."""
    return Case(name, text("survey.csv", survey.column(values, column)), expected, options)


def _changed(name, change, expected, **options):
    return Case(name, text("survey.csv", survey.changed(change)), expected, options)


def _also(missing=0, said=(), aside=None, **kinds):
    """The survey's columns, and some more of some kinds."""
    joined = {k: f"{KINDS.get(k, '')} {kinds.get(k, '')}" for k in {**KINDS, **kinds}}
    return fit(N, missing=missing, said=said, aside=aside, **joined)


def _some(values, every, cell):
    """Values of which every so many is another cell."""
    return [cell if n % every == 0 else value for n, value in enumerate(values)]


def _set(rows, column, cell):
    def change(table):
        table.loc[list(rows), column] = cell

    return change


ROUND = NORMAL.round(3)
SKEWED = np.exp(1.5 * NORMAL).round(4)
EXTRA = _also(real="extra")

CASES = [
    _with("gaps", _some(ROUND, 6, ""), _also(20, real="extra")),
    *(
        _with(f"gaps written as {cell}", _some(ROUND, 6, cell), _also(20, real="extra", said=said))
        for cell, said in (
            ("?", "'?'"),
            ("NA", ()),
            ("n/a", ()),
            ("NULL", ()),
            ("NaN", ()),
            ("-", "'-'"),
            (".", "'.'"),
            ("missing", "'missing'"),
        )
    ),
    _changed("gaps in text", _set(range(0, N, 10), "city", ""), fit(N, **KINDS, missing=12)),
    _changed(
        "a question mark in text",
        _set(range(0, N, 10), "city", "?"),
        fit(N, **KINDS, missing=12, said="'?'"),
    ),
    _with("-999", _some(ROUND, 12, -999), _also(10, real="extra", said="-999")),
    _with(
        "9999 in counts",
        _some(RANDOM.poisson(40, N), 12, 9999),
        _also(10, real="extra", said="9999"),
    ),
    _with("-1 in counts", _some(RANDOM.poisson(40, N), 12, -1), _also(real="extra", said="-1")),
    _with("-999, kept", _some(ROUND, 12, -999), _also(real="extra"), missing=[]),
    _with("-999, said", _some(ROUND, 12, -999), _also(10, real="extra"), missing=[-999]),
    _with("one outlier", [-999, *ROUND[1:]], EXTRA),
    _with("infinite cells", _some(ROUND, 40, "inf"), refused("'extra'", "inf", "row 1")),
    _with("nothing at all", [""] * N, _also(aside={"extra": "no values"})),
    _with("only NA", ["NA"] * N, _also(aside={"extra": "no values"})),
    _with("one value", [3.5] * N, _also(aside={"extra": "3.5"})),
    _with("one word", ["DE"] * N, _also(aside={"extra": "DE"})),
    _with("one value and gaps", _some([3.5] * N, 5, ""), _also(aside={"extra": "3.5"})),
    _with("one differs", [1, *[0] * (N - 1)], _also(binary="extra")),
    _with("counts the rows", range(1, N + 1), _also(aside={"extra": "counts"})),
    _with("counts down", range(N, 0, -1), _also(count="extra", said="rises by -1")),
    _with("counts by tens", range(0, 10 * N, 10), _also(count="extra", said="rises by 10")),
    _with(
        "numbers of patients",
        RANDOM.permutation(10**6)[:N] + 10**6,
        _also(aside={"patient_id": ""}),
        "patient_id",
    ),
    _with(
        "hexadecimal names",
        (f"{n * 7919:08x}" for n in range(N)),
        _also(aside={"extra": "differ"}),
    ),
    _with("names twice each", (f"child {n // 2}" for n in range(N)), _also(aside={"extra": ""})),
    _with("an id", (f"P{n:03}" for n in range(N)), _also(), "name", id="name"),
    _with(
        "free text",
        (f"The {WORDS[n % 12]} of {WORDS[n % 11]}, {n} times" for n in range(N)),
        _also(aside={"extra": "differ"}),
    ),
    _with("post codes", (f"{n * 7 % 10:05}" for n in range(N)), _also(category="extra")),
    _with(
        "dates",
        (f"2020-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(N)),
        refused("'extra'", "date", "aside"),
    ),
    _with(
        "dates, as days",
        (f"2020-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(N)),
        _also(date="extra"),
        types={"extra": "date"},
    ),
    _with(
        "dates, aside",
        (f"2020-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(N)),
        _also(aside={"extra": ""}),
        types={"extra": "aside"},
    ),
    _with(
        "German dates",
        (f"{1 + n % 28:02}.{1 + n % 12:02}.2020" for n in range(N)),
        refused("'extra'", "date", "aside"),
    ),
    _with(
        "dates with times",
        (f"2020-01-{1 + n % 28:02}T{n % 24:02}:30:00Z" for n in range(N)),
        refused("'extra'", "date", "aside"),
    ),
    _with(
        "times of day",
        (f"{n % 24:02}:{n * 7 % 60:02}" for n in range(N)),
        _also(aside={"extra": "different"}),
    ),
    _with(
        "dates with gaps",
        _some([f"2020-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(N)], 9, ""),
        refused("'extra'", "date", "aside"),
    ),
    *(
        _with(
            f"{one} and {other}",
            [one if n % 3 else other for n in range(N)],
            _also(binary="extra"),
        )
        for one, other in (
            ("True", "False"),
            ("TRUE", "FALSE"),
            ("Y", "N"),
            ("t", "f"),
            (0, 1),
            (1, 2),
            (-1, 1),
            (0.5, 1.5),
            ("ja", "nein"),
        )
    ),
    _with(
        "True, False and gaps",
        _some([n % 2 == 0 for n in range(N)], 6, ""),
        _also(20, binary="extra"),
    ),
    _with(
        "Yes, yes and no",
        (["Yes", "yes", "no"][n % 3] for n in range(N)),
        _also(category="extra", said="yes"),
    ),
    _with(
        "words with spaces",
        ([" sun", "sun ", "rain", "wind"][n % 4] for n in range(N)),
        _also(category="extra"),
    ),
    _with("codes", (n * 7 % 5 + 1 for n in range(N)), _also(category="extra")),
    _with(
        "codes with gaps",
        _some([n * 7 % 5 + 1 for n in range(N)], 6, ""),
        _also(20, category="extra"),
    ),
    _with(
        "codes and a letter", (["1", "2", "x"][n % 3] for n in range(N)), _also(category="extra")
    ),
    _with("half points", (n * 7 % 9 / 2 for n in range(N)), _also(category="extra")),
    _with(
        "a rare level",
        ["odd", *(WORDS[n % 3] for n in range(N - 1))],
        _also(category="extra"),
    ),
    _with(
        "rare levels among many",
        (f"odd {n}" if n % 9 == 0 else WORDS[n % 9] for n in range(N)),
        _also(category="extra", said="(other)"),
    ),
    _with("small numbers", 1e-6 * ROUND, EXTRA),
    _with("large numbers", 1e6 * ROUND, EXTRA),
    _with("far from zero", 1e6 + ROUND, refused("'extra'", "subtract")),
    _with("too far from zero for 32 bits", 1e9 + ROUND, refused("'extra'", "subtract")),
    _with("beyond 32 bits", 1e300 * ROUND, refused("'extra'", "divide")),
    _with("large whole numbers", RANDOM.integers(10**8, 10**9, N), _also(count="extra")),
    _with(
        "whole numbers of 18 digits",
        RANDOM.integers(10**17, 10**18, N),
        _also(aside={"extra": ""}),
    ),
    _with("negative whole numbers", (40 * NORMAL).round().astype(int), _also(real="extra")),
    _with("years", RANDOM.integers(1960, 2020, N), _also(real="extra")),
    _with("scientific notation", (f"{x:.3E}" for x in ROUND), EXTRA),
    _with("incomes", SKEWED, _also(positive="extra")),
    _with("incomes and zeros", _some(SKEWED, 3, 0), EXTRA),
    _with("heavy tails", (NORMAL / np.abs(RANDOM.normal(size=N))).round(4), EXTRA),
    _with("proportions", RANDOM.beta(2, 2, N).round(4), _also(proportion="extra")),
    _with(
        "proportions with ends",
        _some(RANDOM.beta(2, 2, N).round(4), 8, 1),
        _also(proportion="extra"),
    ),
    _with("many zeros in counts", RANDOM.negative_binomial(0.3, 0.02, N), _also(count="extra")),
    _with("angles", RANDOM.uniform(0, 360, N).round(2), EXTRA),
    _with(
        "a thousand levels",
        (f"level {n % 40 * n % 97}" for n in range(N)),
        _also(aside={"extra": ""}),
    ),
    _with(
        "lists in cells", (f"[{n}, {n + 1}]" for n in range(N)), _also(aside={"extra": "differ"})
    ),
    _with(
        "half numbers, half words",
        (n * 1.37 if n % 2 else WORDS[n % 12] for n in range(N)),
        _also(aside={"extra": "numbers and text"}),
    ),
    _changed(
        "a column twice",
        lambda table: table.insert(0, "copy", table["height"]),
        fit(
            N,
            **{**KINDS, "real": "copy weight"},
            aside={"height": "repeats column 'copy'"},
        ),
    ),
    _changed(
        "a column in other units",
        lambda table: table.insert(0, "copy", table["height"] * 100),
        fit(
            N,
            **{**KINDS, "real": "copy weight"},
            aside={"height": "'copy' in other units"},
        ),
    ),
]
