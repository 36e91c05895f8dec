"""Settings of the site: `make docs`."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
# Executed pages import the library and the examples.
os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path[:2], os.environ.get("PYTHONPATH", "")])
from machinery.cache import of_sources  # noqa: E402
from machinery.kernels import environment  # noqa: E402

os.environ |= environment(ROOT / ".cache")

project = "ppvae"
author = copyright = "The ppvae developers"
release = version = installed("ppvae")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "machinery.cards",
    "machinery.formulas",
    "machinery.generated",
    "machinery.sidebar",
]
# Without them, pages build within seconds while they are written.
if os.environ.get("DOCS_REFERENCE") != "off":
    extensions.append("machinery.reference")
    nitpicky = True
exclude_patterns = ["_build"]
html_math_renderer = "mathml"

os.environ["COLUMNS"] = "80"  # of the command line's help
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_custom_sections = [("Attributes", "params_style")]
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
nb_execution_mode = os.environ.get("DOCS_EXECUTE", "cache")
if nb_execution_mode == "off":
    suppress_warnings = ["myst-nb.lexer"]  # the language of cells is known from a run
nb_execution_timeout = 600
# What a page shows depends on the library and the examples too: others' results are not used.
nb_execution_cache_path = str(ROOT / ".cache" / "docs" / of_sources(ROOT))
nb_render_markdown_format = "gfm"
nb_output_stderr = "show"  # what the library says beside its results
nb_merge_streams = True

html_theme = "furo"
html_title = "ppvae"
html_show_sourcelink = html_copy_source = False
highlight_language = "text"
html_static_path = ["_static"]
html_css_files, html_js_files = ["site.css"], [("site.js", {"defer": "defer"})]
html_logo = html_favicon = "_static/logo.svg"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#b5431a", "color-brand-content": "#a63d17"},
    "dark_css_variables": {"color-brand-primary": "#f08a63", "color-brand-content": "#f29b79"},
    "top_of_page_buttons": [],
}
templates_path = []
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
