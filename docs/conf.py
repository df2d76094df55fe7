"""How ``make docs`` builds the site: from these pages, and from the docstrings of the public API.

Nothing is fetched while it is built or read. The pages are plain Markdown, to be read in the
repository as well; so what a site needs besides is added here, as a page is read:

- ``index.md`` is the site's menu: each page that it links to, below the heading of its section.
- A link to a file of the repository that is no page becomes plain text, if there is such a file.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import project.fan_in as fan_in  # noqa: E402 (it is found once the path is set)

sys.modules["dagster_fan_in"] = fan_in  # Its users' name for it.

project = "dagster-fan-in"
author = "the authors of dagster-fan-in"
version = release = fan_in.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = html_show_sourcelink = html_show_copyright = False
exclude_patterns = ["ui"]
myst_heading_anchors = 4
autodoc_typehints = "none"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_use_rtype = False

LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)]*)?\)")


def add_menu(text: str) -> str:
    """Returns the index with its sections as the site's menu."""
    menus = []
    for section in text.split("\n## ")[1:]:
        caption, _, rest = section.partition("\n")
        pages = "\n".join(path for _, path, _ in LINK.findall(rest) if not path.startswith(".."))
        menus.append(f"```{{toctree}}\n:hidden:\n:titlesonly:\n:caption: {caption}\n\n{pages}\n```")
    return "\n\n".join([text, *menus])


def unlink(text: str, page: Path) -> str:
    """Returns a page without its links to what is no page."""

    def without(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        if not target.exists():
            logging.getLogger(__name__).warning("There is no %s", link[2], location=str(page))
        return link[1]

    return LINK.sub(without, text)


def read(_app: Sphinx, name: str, source: list[str]) -> None:
    page = DOCS / f"{name}.md"
    if page.exists():
        source[0] = unlink(add_menu(source[0]) if name == "index" else source[0], page)


def setup(app: Sphinx) -> None:
    app.connect("source-read", read)
