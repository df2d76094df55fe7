"""The pages of docs/ as a whole: their links, their index, and the API that is told there."""

import re

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


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
