"""A release of Dagster that is too old is told at import, and what Python 3.10 lacks is there."""

import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace

import dagster
import pytest
from dagster_shared.libraries import DagsterLibraryRegistry

from project.fan_in import __version__
from project.fan_in.compat import check_release, releases
from project.fan_in.compat.python import parse_time
from project.paths import ROOT


@pytest.mark.parametrize("found", ["1.11.16", "0.15.9", "1.0.0rc1"])
def test_a_release_that_is_too_old_is_named_with_what_to_install(found):
    with pytest.raises(ImportError, match=f"dagster {found} is too old .*'dagster>=1.12'"):
        check_release(found)


@pytest.mark.parametrize("found", ["1.14.0", "2.0.0", "1!0+dev", "unknown"])
def test_a_release_that_nobody_has_tried_is_a_warning(found):
    with pytest.warns(UserWarning, match="tested on dagster 1.12 to 1.13, this is"):
        check_release(found)


@pytest.mark.parametrize("found", ["1.12.0", "1.13.0", "1.13.29", dagster.__version__])
def test_a_known_release_is_not_mentioned(recwarn, found):
    check_release(found)
    assert not recwarn


def test_the_import_itself_fails_before_anything_else_can():
    """In a new process, with the version that Dagster tells replaced: no AttributeError later."""
    use = "import dagster; dagster.__version__ = '1.11.16'; import project.fan_in"
    ended = subprocess.run([sys.executable, "-c", use], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("ImportError: dagster 1.11.16 is too old")


def test_its_version_is_shown_beside_dagsters():
    """As that of Dagster's own libraries is, to whoever asks a code location."""
    assert DagsterLibraryRegistry.get()["dagster-fan-in"] == __version__


@pytest.mark.parametrize(
    ("text", "the_same"),
    [
        ("2026-11-24T09:00Z", "2026-11-24T09:00+00:00"),
        ("2026-11-24 09:00:01.5+01:00", "2026-11-24T09:00:01.500000+01:00"),
        ("2026-11-24 09:00:01,123456789z", "2026-11-24T09:00:01.123456+00:00"),
        ("2026-11-24", "2026-11-24T00:00"),
    ],
)
def test_a_time_is_read_as_newer_pythons_read_it(text, the_same):
    assert parse_time(text) == datetime.fromisoformat(the_same)


def test_before_virtual_assets_the_upstreams_are_the_parents():
    """Dagster 1.12: no graph looks through views, and no asset is one."""
    a, d = dagster.AssetKey("a"), dagster.AssetKey("d")
    graph = SimpleNamespace(get={d: SimpleNamespace(parent_keys={a})}.__getitem__)
    assert releases.parents_through_views(graph, d) == {a}
    assert not releases.is_virtual(graph, d)


def test_before_its_own_way_a_subset_is_made_of_assets_partitions():
    """Dagster 1.12.0: the view takes pairs of an asset and a partition."""
    of_key = dagster.StaticPartitionsDefinition(["x", "y"])
    view = SimpleNamespace(get_asset_subset_from_asset_partitions=lambda key, pairs: (key, pairs))
    d = dagster.AssetKey("d")
    key, pairs = releases.subset_of_partitions(view, d, of_key, ["x"])
    assert (key, [(p.asset_key, p.partition_key) for p in pairs]) == (d, [(d, "x")])
