"""The pages of docs/ as a whole: their links, their index, and the API that is told there."""

import re
import subprocess
import sys

import pytest

import project.fan_in as fan_in
from project.paths import ROOT
from tests.support.pages import DOCS, PAGES, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """To a file or folder of the repository, and to a heading of it if it names one."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page():
    """Each once."""
    listed = [path for path in links(DOCS / "index.md") if not path.startswith("..")]
    pages = {str(p.relative_to(DOCS)) for end in ("md", "rst") for p in DOCS.rglob(f"*.{end}")}
    assert {*listed} == pages - {"index.md"}
    assert len(listed) == len({*listed})


def test_the_reference_tells_all_that_is_exported():
    """And nothing else."""
    told = re.findall(
        r"^\.\. auto\w+:: dagster_fan_in\.(\w+)$", (DOCS / "api.rst").read_text(), re.M
    )
    assert sorted(told) == sorted(set(fan_in.__all__) - {"__version__"})
    for name in told:
        assert getattr(fan_in, name).__doc__, name


@pytest.mark.slow
def test_the_site_is_whole_and_fetches_nothing(tmp_path):
    """``make docs`` in short: no warning; the menu on a page; no script, style, font or picture of
    another host; no name of this repository's own in the reference."""
    build = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", str(DOCS), str(tmp_path / "site")]
    subprocess.run([*build, "-d", str(tmp_path / "kept")], check=True, capture_output=True)
    pages = {p.name: p.read_text() for p in (tmp_path / "site").rglob("*.html")}
    styles = [p.read_text() for p in (tmp_path / "site").rglob("*.css")]
    for text in (*pages.values(), *styles):
        assert not re.search(r"""(src=|<link[^>]*href=|url\(|@import )["']?(https?:)?//""", text)
    for caption in ("Tutorial", "How to", "Reference", "Evidence"):
        assert f'<span class="caption-text">{caption}</span>' in pages["rule.html"]
    assert "fan_in_sensor" in pages["api.html"]
    assert "project.fan_in" not in pages["api.html"]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
