"""Sphinx's settings for the site, which `make docs` builds; site_parts has what is generated."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

project = "pytest-iaside"
author = "the pytest-iaside developers"
project_copyright = author
release = metadata.version("pytest-iaside")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "site_parts",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_extra"]
suppress_warnings = ["misc.highlighting_failure"]  # what a terminal shows is no language

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# Names of the package are looked up; types of other libraries have no pages here to link to.
nitpicky = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False

html_theme = "furo"
html_title = "pytest-iaside"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
# Reports that docs/gallery.py writes before the site is built.
html_extra_path = ["_extra"] if (HERE / "_extra").is_dir() else []

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_exclude = ".linenos, .gp, .go"
