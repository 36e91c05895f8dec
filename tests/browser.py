"""Pages opened in a real browser: what it says, what it asks for, and what a reader meets."""

import contextlib
import itertools
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ["--disable-gpu", "--disable-quic"]
PHONE = 600  # pixels, below which a page is opened as a phone does

HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
  .filter(one => one.checkVisibility())
  .map(one => [Number(one.tagName[1]), one.textContent.trim()])"""


@contextlib.contextmanager
def started():
    """Start Chromium without a window; skip the test where this is not possible."""
    why = "pages are opened in a browser: pip install playwright axe-playwright-python"
    playwright = pytest.importorskip("playwright.sync_api", reason=why)
    pytest.importorskip("axe_playwright_python", reason=why)
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("pages are opened in a browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=OPTIONS)
        try:
            yield Browser(chromium)
        finally:
            chromium.close()


class Browser:
    """A browser that opens files, without a network."""

    def __init__(self, chromium):
        self.chromium = chromium

    @contextlib.contextmanager
    def visit(self, path, width=1280, height=800, scheme="light"):
        """Open a file at a width and height in pixels and a color scheme ("light" or "dark").

        The file is loaded twice: once as a reader does, once without its content security policy,
        which would forbid the questions that `Visit` asks. Both are recorded.
        """
        messages, requests, address = [], [], Path(path).resolve().as_uri()
        with contextlib.ExitStack() as stack:
            for bypass in (False, True):
                context = self.chromium.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    is_mobile=width < PHONE,
                    has_touch=width < PHONE,
                    bypass_csp=bypass,
                    offline=True,
                )
                stack.callback(context.close)
                context.on("request", lambda request: requests.append(request.url))
                context.on("console", lambda one: messages.append(f"{one.type}: {one.text}"))
                context.on("weberror", lambda one: messages.append(f"exception: {one.error}"))
                page = context.new_page()
                page.goto(address, wait_until="load")
                page.wait_for_timeout(50)  # what a script asks for after loading
            yield Visit(page, width, messages, requests, address)


class Visit:
    """An open page: `page` is Playwright's own, to click, type, and take pictures of."""

    def __init__(self, page, width, messages, requests, address):
        self.page, self.width, self.messages = page, width, messages
        self._requests, self._address = requests, address

    @property
    def requests(self):
        """Every address asked for besides the file itself."""
        return [one for one in self._requests if one.partition("#")[0] != self._address]

    def scrolls_sideways(self):
        """Tell whether the page is wider than the window, or laid out for a wider one."""
        return self.page.evaluate("document.documentElement.scrollWidth") > self.width

    def headings(self):
        """Return level and text of each visible heading."""
        return [tuple(one) for one in self.page.evaluate(HEADINGS)]

    def violations(self):
        """Return what axe-core calls serious or critical: rule, explanation, and where."""
        from axe_playwright_python.sync_playwright import Axe

        return [
            f"{found['id']}: {found['help']}: {node['target']}"
            for found in Axe().run(self.page).response["violations"]
            if found["impact"] in ("serious", "critical")
            for node in found["nodes"]
        ]

    def faults(self):
        """Return all that must not be, in words: empty for a good page."""
        faults = [f"console: {one}" for one in self.messages]
        faults += [f"request: {one}" for one in self.requests]
        if self.scrolls_sideways():
            faults.append(f"wider than {self.width} pixels")
        if not in_order(headings := self.headings()):
            faults.append(f"headings: {headings}")
        return faults + self.violations()


def in_order(headings):
    """Tell whether one heading of level 1 comes first, and no level is left out below it."""
    levels = [level for level, _ in headings]
    steps = itertools.pairwise(levels)
    return levels[:1] == [1] and all(1 < after <= before + 1 for before, after in steps)
