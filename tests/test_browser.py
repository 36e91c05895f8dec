"""What the browser of the tests finds in pages that are wrong in one thing each."""

import re

import pytest

from tests.browser import in_order

pytestmark = pytest.mark.slow

GOOD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
  style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>:root {color-scheme: light dark}</style>
<h1>A page</h1><h2>Part</h2><p>Words.</p>
<img alt="a dot" src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==">
"""


def page(folder, html):
    path = folder / "page.html"
    path.write_text(html)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_good_page_has_no_fault_until_a_click_breaks_it(browser, tmp_path, width, scheme):
    insert = "<button onclick='missing()'>Press</button>"
    with browser.visit(page(tmp_path, GOOD + insert), width, scheme=scheme) as visit:
        assert visit.faults() == []
        assert visit.headings() == [(1, "A page"), (2, "Part")]
        assert visit.page.evaluate("innerWidth") == width
        dark = visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")
        visit.page.click("button")
        assert "missing is not defined" in visit.faults()[0]


FAULTS = {
    "<script>console.error('broken')</script>": "console: error: broken",
    "<script>undefined_name</script>": "undefined_name is not defined",
    "<p style='width: 500px'>wide</p>": "wider than 390",
    "<h4>too deep</h4>": "headings: ",
    "<img src='data:,'>": "image-alt: ",
    "<p style='color: #ccc; background: #fff'>pale</p>": "color-contrast: ",
    # The page's own policy refuses this one, which the console tells.
    "<img alt='' src='https://example.org/a.png'>": "console: error: Loading",
}


def test_faults_are_found(browser, tmp_path):
    with browser.visit(page(tmp_path, GOOD + "".join(FAULTS)), 390) as visit:
        faults = visit.faults()
    missed = [one for one in FAULTS.values() if not any(one in fault for fault in faults)]
    assert not missed, faults


REQUESTS = {
    "<img alt='' src='https://example.org/a.png'>": "https://example.org/a.png",
    "<img alt='' src='beside.png'>": "/beside.png",
    "<script>setTimeout(() => fetch('https://example.org/b'), 10)</script>": "/b",
    "<style>p {background: url(https://example.org/c.png)}</style>": "/c.png",
}


def test_requests_are_found(browser, tmp_path):
    loose = GOOD.replace("default-src 'none'; img-src data:;", "default-src *;")
    with browser.visit(page(tmp_path, loose + "".join(REQUESTS))) as visit:
        asked = visit.requests
    missed = [one for one in REQUESTS.values() if not any(url.endswith(one) for url in asked)]
    assert not missed, asked


@pytest.mark.parametrize(
    "html",
    [GOOD + "<h1>another</h1>", GOOD.replace("h1", "h2"), GOOD.replace("h2", "h3")],
    ids=["two titles", "no title", "a level left out"],
)
def test_headings_out_of_order_are_found(html):
    levels = [(int(level), "") for level in re.findall(r"<h(\d)", html)]
    assert not in_order(levels) and in_order([(1, ""), (2, ""), (3, ""), (2, "")])


def test_a_page_laid_out_for_a_desktop_is_too_wide_for_a_phone(browser, tmp_path):
    html = "".join(line for line in GOOD.splitlines(True) if "viewport" not in line)
    with browser.visit(page(tmp_path, html), 390) as visit:
        assert visit.scrolls_sideways()
