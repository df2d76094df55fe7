"""Which completions of assets count by a user's function, which is called once for each.

The data version before a completion is that of the event stored before it, in its partition,
however old. Event bodies are read only for upstreams of fan-ins with such a function: one statement
a tick for all.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime

import dagster as dg

from .asset_facts import AssetFacts, ReadScope, StoredCompletion
from .compat.python import UTC
from .counts import UpstreamWork, why_not
from .event_rows import MATERIALIZED, OBSERVED, Body, Row
from .public_rows import AnyRows

NO_BODY = Body()

NO_ID = 2**62
"""Greater than any event's id."""

Scopes = Mapping[str, ReadScope]
Rows = Mapping[str, Sequence[Row]]
"""The rows of each asset."""


def count_materialized(facts: AssetFacts, scope: ReadScope, row: Row, body: Body) -> None:
    """Adds a materialization to the facts of each function that judges it, and its data version."""
    before = facts.take_version(row.partition, row.id, body.data_version)
    count(facts, scope, row, body, before)


def count(facts: AssetFacts, scope: ReadScope, row: Row, body: Body, before: str | None) -> None:
    """Adds a completion to the facts of each function that judges it."""
    if not scope.counts:
        return
    key = dg.AssetKey.from_db_string(row.asset)
    work = UpstreamWork(
        upstream=row.asset if key is None else key.to_user_string(),
        completed_at=datetime.fromtimestamp(row.at, UTC),
        key=row.partition,
        run_id=row.run_id or None,
        metadata=body.metadata,
        data_version=body.data_version,
        data_version_before=before,
    )
    fact = StoredCompletion(row.at, row.id, row.run_id)
    for counts in scope.counts:
        counted, why = facts.counted[counts], why_not(counts, work)
        if why is None:
            counted.complete(row.partition, fact, scope.retention)
        else:
            counted.leave_out(row.partition, fact, why)


def bodies_of(rows: AnyRows, scopes: Scopes, by_asset: Rows) -> Mapping[int, Body]:
    """Reads the bodies of the completions that need one to be judged: one statement."""
    wanted = [
        row
        for asset, of_asset in by_asset.items()
        if (scope := scopes[asset]).observed or scope.counts
        for row in of_asset
        if row.kind == (OBSERVED if scope.observed else MATERIALIZED)
    ]
    return rows.bodies(wanted) if wanted else {}


def versions_before(rows: AnyRows, scopes: Scopes, by_asset: Rows) -> Mapping[str, Set[Row]]:
    """Reads the materializations before the window with the previous data versions of those inside
    it."""
    inside = {
        asset: {row.partition for row in of_asset if row.kind == MATERIALIZED}
        for asset, of_asset in by_asset.items()
        if (scope := scopes[asset]).counts and not scope.observed and scope.since is not None
    }
    asked = [asset for asset, partitions in inside.items() if partitions]
    earlier: dict[str, set[Row]] = defaultdict(set)
    for row in newest_before(rows, MATERIALIZED, asked, scopes, by_asset) if asked else ():
        if row.partition in inside[row.asset] and row not in by_asset[row.asset]:
            earlier[row.asset].add(row)
    return earlier


def newest_before(
    rows: AnyRows, kind: str, assets: Collection[str], scopes: Scopes, by_asset: Rows
) -> list[Row]:
    """Reads one kind of events of assets from before their windows: the newest of each partition,
    and those that were stored since."""
    if not assets:
        return []
    since = min(s for asset in assets if (s := scopes[asset].since) is not None)
    ids = [row.id for asset in assets for row in by_asset[asset] if row.kind == kind]
    return rows.newest_before(kind, assets, since, min(ids, default=NO_ID))
