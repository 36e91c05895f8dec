"""A page about a pair: what it says is right, and whatever data hold is shown as text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import constraints

from ppvae import data, diagnostics, pairs, reports
from ppvae.reports.page.contents import Code, Lead, Page, Section, Text
from ppvae.reports.page.rendering import rendered
from ppvae.reports.page.tables import Cell, Table
from tests.linear_gaussian import LinearGaussian

EVIL = "<script>alert(1)</script>"
FEW = diagnostics.Effort(datapoints=10, draws=30)


class Parsed(HTMLParser):
    """The elements of a page by name, and its text without scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self._inside = [], [], ""
        self.feed(html)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The page about a table with a column, a class and rows that bear the names of a script."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": [f"{EVIL}{number}" for number in range(60)],
            EVIL: random.normal(0, 1, 60).round(2),
            "mass": random.normal(50, 2, 60).round(1),
            "kind": [EVIL if number % 2 else "plain" for number in range(60)],
        }
    )
    frame.loc[::5, EVIL] = None
    frame["mass"] = frame.mass.where(frame.index != _a_test_row(frame), 900.0)
    table = data.table(frame, label="kind", id="name")
    torch.manual_seed(0)
    pair = pairs.assemble(table, latent=2)
    path = tmp_path_factory.mktemp("page") / "page.html"
    reports.write_page(pair, table, path, effort=FEW, draws=30, refine_seconds=0, title=EVIL)
    return path.read_text(encoding="utf-8")


def _a_test_row(frame):
    """Return the number of a row that is split off for testing."""
    return int(data.table(frame, label="kind", id="name").row_numbers("test")[0])


def test_all_text_is_text_and_nothing_is_asked_for(html):
    page = Parsed(html)
    assert len(page.all("script")) == 1 and not page.all("script")[0]
    assert page.text.count(EVIL) > 10
    addresses = [each.get("src") or each.get("href") for _, each in page.elements]
    assert {each[:5] for each in addresses if each and each[0] != "#"} == {"data:"}
    assert not any(name.startswith("on") for _, each in page.elements for name in each)
    assert len(html) < 2_000_000


def test_the_policy_allows_its_own_script_and_style_alone(html):
    page = Parsed(html)
    policy = next(each["content"] for each in page.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("script", "style"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", html, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any("style" in each for _, each in page.elements)


def test_pictures_tables_and_headings_have_what_a_screen_reader_needs(html):
    page = Parsed(html)
    assert all(len(each["alt"]) > 8 for each in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) > 3
    assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
    assert len(page.all("h1")) == len(page.all("main")) == 1
    targets = {each.get("id") for _, each in page.elements}
    links = {each["href"][1:] for each in page.all("a")}
    assert "verdict" in links and links <= targets


def test_the_row_with_a_wrong_cell_is_the_worst_and_its_cell_is_named(html):
    caption = html.index("worst of 6 test rows")
    first = Parsed(html[caption : html.index("</tr>", html.index("<tbody>", caption))]).text
    assert "mass 900 (beyond all training rows)" in first


def test_what_is_missing_is_said(html):
    text = Parsed(html).text
    assert "Not measured: it needs simulations" in text
    assert "A cell with - is missing" in text


def test_numbers_are_the_exact_ones(tmp_path):
    """An exact guide: log P(X) of all rows is trusted, and is the closed form."""
    law = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    x = law.draw(40, seed=1)
    few = diagnostics.Effort(datapoints=40, draws=60)
    path = tmp_path / "page.html"
    reports.write_page(law.pair(), x, path, effort=few, draws=60, refine_seconds=0)
    text = Parsed(path.read_text(encoding="utf-8")).text
    exact = float(law.marginal.log_prob(x).mean())
    assert "log P(X) can be trusted for all 40 rows." in text
    assert f"log P(X) {exact:.2f}".replace("-", "\N{MINUS SIGN}") in text
    assert "the guide misses 0.00" in text.replace("\N{MINUS SIGN}", "")
    assert "No alarm in" in text


def test_a_pair_that_fails_has_a_page(tmp_path):
    class Failing(torch.nn.Module):
        def model(self, x):
            raise RuntimeError("no such file: weights")

        guide = model

    path = tmp_path / "page.html"
    reports.write_page(Failing(), torch.ones(5, 2), path, effort=FEW)
    text = Parsed(path.read_text(encoding="utf-8")).text
    assert "log P(X) was not measured row by row: RuntimeError at" in text
    assert "no such file: weights" in text


@pytest.mark.slow
def test_series_are_drawn_in_the_table_of_worst_rows(tmp_path):
    walks = [np.cumsum(np.ones((4 + number % 3, 1)), 0) for number in range(40)]
    dataset = data.sequences(walks)
    path = tmp_path / "page.html"
    pair = pairs.assemble(dataset, latent=2)
    reports.write_page(pair, dataset, path, effort=FEW, draws=30, refine_seconds=0)
    html = path.read_text(encoding="utf-8")
    assert html.count('class="thumbnail wide"') == len(dataset.test)


def test_what_is_between_backticks_is_code():
    blocks = [Text("run `a < b` now"), Text("one ` alone"), Code("<b>", "call")]
    html = rendered(Page("t", "", Lead("s", "fine"), [Section("x", "X", blocks)]))
    assert "run <code>a &lt; b</code> now" in html and "one ` alone" in html
    assert "<code>&lt;b&gt;</code>" in html


def test_a_table_needs_rows_of_its_length():
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ("a", "b"), ((Cell("1"),),))


def test_a_wrong_split_is_refused_before_any_work(tmp_path):
    dataset = data.split("x", torch.randn(30, 2), constraints.real)
    with pytest.raises(ValueError, match="'train', 'validation' or 'test', got 'tset'"):
        reports.write_page(torch.nn.Identity(), dataset, tmp_path / "p.html", split="tset")
