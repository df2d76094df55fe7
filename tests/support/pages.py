"""The pages of README and docs/: their blocks, to be executed, and their links."""

import re
from pathlib import Path
from typing import Any

from project.paths import ROOT

DOCS = ROOT / "docs"
IMPORTED_AS = "dagster_fan_in"
"""The library's name where it is installed, and on the pages."""
LIBRARY = "project.fan_in"
"""Its name here."""

PAGES = (
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"),
    ROOT / "benchmarks" / "README.md",
    *sorted(DOCS.rglob("*.md")),
)


def blocks(page: str, language: str = "python") -> list[str]:
    """Returns the blocks of a page in a language, or in none, with the library's name here."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.S | re.M)
    return [block.replace(IMPORTED_AS, LIBRARY) for of, block in fenced if of == language]


def executed(block: str, **names: Any) -> dict[str, Any]:
    """Runs a block of Python in a module where these names are defined; returns all its names."""
    exec(compile(block, "a page", "exec"), names)
    return names


def links(page: Path) -> list[str]:
    """Returns what a page links to within the repository."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.S | re.M)
    return re.findall(r"\]\(([^)\s:]+)\)", prose)


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    words = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"\s", "-", heading) for heading in words}
