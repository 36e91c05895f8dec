"""What a notebook shows of a dataset, as text and as a table."""

import re
from dataclasses import replace

import numpy as np
import pandas
import torch
from torch.distributions import constraints

from ppvae import data
from ppvae.data import html_table, split

NASTY = "<script>alert(1)</script>"


def cells(html):
    """Return the texts of a table's rows by what heads them."""
    rows = re.findall(r"<th class=\"row_heading[^>]*>(.*?)</th>\s*<td[^>]*>(.*?)</td>", html, re.S)
    return dict(rows)


def test_whatever_the_data_hold_is_text():
    generator = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            NASTY: generator.normal(size=100),
            "n": np.where(np.arange(100) % 10, 1.5 + generator.normal(size=100), np.nan),
            "class": np.where(np.arange(100) % 2, "<img src=x onerror=y>", "b & c"),
        }
    )
    dataset = replace(data.table(frame, label="class"), name=NASTY, notes=("<b>", "second"))
    html = dataset._repr_html_()
    assert not re.search("<script|<img|<b>", html)
    shown = cells(html)
    assert shown["rows"] == "80 train, 10 validation, 10 test"
    assert shown["columns"] == "&lt;script&gt;alert(1)&lt;/script&gt; (real), n (real)"
    assert shown["missing"] == "5.0% of the values"
    assert shown["labels"] == "2 classes: &lt;img src=x onerror=y&gt;, b &amp; c"
    assert shown["note"] == "&lt;b&gt; (and 1 more in `notes`)"
    assert html_table(NASTY, [(NASTY, NASTY)], (NASTY,), code=NASTY).count("<script") == 0


def test_a_dataset_is_described_in_a_few_lines():
    assert repr(data.digits()).splitlines() == [
        "Dataset 'digits'",
        "  rows     1,439 train, 179 validation, 179 test",
        "  one row  shape (64,), an image of 8 x 8",
        "  support  IntegerInterval(0, 16)",
        "  labels   10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ]
    kinds = data.merged([constraints.real, constraints.real, data.categories(3)])
    parts = split("noise", torch.ones(1000, 3), kinds, labels=torch.arange(1000))
    shown = cells(parts.conditional()._repr_html_())
    assert shown["support"] == "2 of Real, 1 of Categories(0, 2)"
    assert shown["labels"] == "1000 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 990 more"
    assert shown["conditions"] == "of shape (1000,)"


def test_the_same_table_is_the_same_text():
    rows = [("a", "1"), ("a", "2")]  # what heads two rows may be the same
    html = html_table("Twice", rows, ("number",))
    assert html == html_table("Twice", rows, ("number",))
    assert [html.count(f">{number}<") for number in (1, 2)] == [1, 1]
