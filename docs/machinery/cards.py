"""A page of cards: one for each page of a folder, with its last figure and first sentence."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective


class Cards(nodes.General, nodes.Element):
    """Where the cards of the pages named in `pages` go."""


class CardsDirective(SphinxDirective):
    """`{cards}`: names of pages beside this one, one a line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave the place free until all pages are read."""
        folder = self.env.docname.rpartition("/")[0]
        self.env.metadata[self.env.docname]["cards"] = True
        return [Cards(pages=[f"{folder}/{line.strip()}" for line in self.content if line.strip()])]


def fill(app: Sphinx, tree: nodes.document, docname: str) -> None:
    """Put the cards in their place."""
    for place in list(tree.findall(Cards)):
        cards = [_card(app, docname, page) for page in place["pages"]]
        place.replace_self(nodes.container("", *cards, classes=["cards"]))


def _card(app: Sphinx, docname: str, page: str) -> nodes.container:
    tree = app.env.get_doctree(page)
    title = app.env.titles[page].astext()
    words = next(iter(tree.findall(nodes.paragraph))).astext().replace("\n", " ")
    target = app.builder.get_relative_uri(docname, page)
    link = nodes.reference("", title, refuri=target, internal=True)
    parts: list[nodes.Node] = [
        nodes.paragraph("", "", link, classes=["card-title"]),
        nodes.paragraph("", words.partition(". ")[0].rstrip(".") + "."),
    ]
    figures = list(tree.findall(nodes.image))
    if figures:
        figure = nodes.image(uri=figures[-1]["uri"], candidates=figures[-1]["candidates"], alt="")
        parts.insert(0, figure)
    return nodes.container("", *parts, classes=["card"])


def with_cards(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Write pages of cards anew at every build: what they show is found on other pages."""
    return [name for name, known in env.metadata.items() if "cards" in known]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(Cards)
    app.add_directive("cards", CardsDirective)
    app.connect("doctree-resolved", fill)
    app.connect("env-updated", with_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
