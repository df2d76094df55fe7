"""What is read from an event besides its time: how a run ended, and whether the fan-in's function
counts it."""

from datetime import datetime

import dagster as dg

from ..compat.python import UTC
from ..counts import Counts, UpstreamWork, why_not
from ..event_rows import Body
from ..retries import LONGEST_WAIT_FOR_RETRY, RETRY_TAG, may_be_retried
from ..run_reader import RunReader
from .events import Ended
from .mechanisms import completion_of


def ended_run(
    runs: RunReader, record: dg.RunRecord, end: datetime, name: str, elsewhere: str | None
) -> Ended:
    """Returns the end of a run of an upstream job, as known at the end of the period."""
    run = record.dagster_run
    ended = Ended(
        end,
        name,
        run.run_id,
        success=run.status is dg.DagsterRunStatus.SUCCESS,
        key=runs.key(record),
        elsewhere=elsewhere,
        canceled=run.status is dg.DagsterRunStatus.CANCELED,
    )
    if run.status is dg.DagsterRunStatus.FAILURE:
        ended.retried = may_be_retried(record, runs.ends.at, False) is not False
        if not ended.retried and run.tags.get(RETRY_TAG) == "true":
            ended.seen = end + LONGEST_WAIT_FOR_RETRY  # Until then its retry might have come.
    ended.counts = runs.ends.count(completion_of(ended), record)
    return ended


class DataVersions:
    """Asks a fan-in's function about the events of an asset, in the order of storage.

    Args:
        instance: The instance with the event log.
        counts: The function; None if everything counts.
        name: The asset's name.
    """

    def __init__(self, instance: dg.DagsterInstance, counts: Counts | None, name: str) -> None:
        self._instance, self._counts, self._name = instance, counts, name
        self._versions: dict[str | None, str | None] = {}

    def counts(self, event: dg.EventLogRecord) -> bool:
        """Returns whether an event counts."""
        if self._counts is None:
            return True
        body, partition = Body.of(event.event_log_entry), event.partition_key
        if partition not in self._versions:
            self._versions[partition] = self._version_before(event)
        work = UpstreamWork(
            upstream=self._name,
            completed_at=datetime.fromtimestamp(event.timestamp, UTC),
            key=partition,
            run_id=event.run_id or None,
            metadata=body.metadata,
            data_version=body.data_version,
            data_version_before=self._versions[partition],
        )
        self._versions[partition] = body.data_version
        return why_not(self._counts, work) is None

    def _version_before(self, event: dg.EventLogRecord) -> str | None:
        """Returns the version before the first event of a partition that is read."""
        before = self._instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=event.event_log_entry.get_dagster_event().event_type,
                asset_key=event.asset_key,
                asset_partitions=None if event.partition_key is None else [event.partition_key],
                before_cursor=event.storage_id,
            ),
            limit=1,
        )
        return Body.of(before[0].event_log_entry).data_version if before else None
