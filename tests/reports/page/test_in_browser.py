"""The page in a real browser: no fault at desktop and phone width, tables sorted by keyboard."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppvae import data, diagnostics, pairs, reports

pytestmark = pytest.mark.slow

FEW = diagnostics.Effort(datapoints=20, draws=50, simulations=20, searched=2)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page about a table with a column of a long name and one that is a script."""
    random = np.random.default_rng(0)
    columns = {name: random.normal(0, 1, 90).round(2) for name in ("a" * 60, "<script>x</script>")}
    columns |= {f"column_{number}": random.normal(0, 1, 90) for number in range(12)}
    frame = pd.DataFrame(columns)
    frame.iloc[::4, 0] = None
    table = data.table(frame)
    torch.manual_seed(0)
    pair = pairs.assemble(table, latent=2)
    folder = tmp_path_factory.mktemp("page")
    return reports.write_page(
        pair, table, folder / "page.html", effort=FEW, draws=100, refine_seconds=1
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_has_no_fault(browser, page, width, scheme):
    with browser.visit(page, width, scheme=scheme) as visit:
        assert visit.faults() == []
        assert visit.headings()[:2] == [(1, "table"), (2, "Verdict")]


def test_tables_are_sorted_by_keyboard(browser, page):
    with browser.visit(page) as visit:
        table = visit.page.locator("table", has_text="worst of")
        head = table.locator("thead th", has_text="log P(X)")
        place = head.evaluate("one => one.cellIndex")
        read = (
            f"one => [...one.tBodies[0].rows].map(row => Number(row.cells[{place}].dataset.value))"
        )
        for direction in ("ascending", "descending"):
            head.locator("button").focus()
            visit.page.keyboard.press("Enter")
            values = table.evaluate(read)
            assert len(values) > 3 and head.get_attribute("aria-sort") == direction
            assert values == sorted(values, reverse=direction == "descending")
        other = table.locator("thead th").first
        other.locator("button").press("Space")
        assert other.get_attribute("aria-sort") == "ascending"
        assert head.get_attribute("aria-sort") is None


def test_a_reader_can_skip_to_the_verdict(browser, page):
    with browser.visit(page) as visit:
        visit.page.keyboard.press("Tab")
        focused = visit.page.locator(":focus")
        assert focused.inner_text() == "Skip to the verdict" and focused.is_visible()
        visit.page.keyboard.press("Enter")
        assert visit.page.url.endswith("#verdict")


def test_on_paper_nothing_is_cut_off(browser, page):
    with browser.visit(page) as visit:
        visit.page.emulate_media(media="print")
        assert not visit.page.locator("nav").is_visible()
        box = visit.page.locator(".scroll").first
        assert box.evaluate("one => getComputedStyle(one).overflowX") == "visible"
