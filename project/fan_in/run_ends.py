"""Which ends of upstream runs are completions, and which runs were seen that are none."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

import dagster as dg
from dagster import DagsterRunStatus, RunRecord

from .counts import ENDS, SUCCESS_ALONE, End, UpstreamWork, ends_of, why_not
from .retries import may_be_retried
from .rule import Completion, Uncounted
from .sensor_config import SensorConfig

STATUSES: Mapping[End, DagsterRunStatus] = {
    "success": DagsterRunStatus.SUCCESS,
    "failure": DagsterRunStatus.FAILURE,
    "canceled": DagsterRunStatus.CANCELED,
}
_ENDS: Mapping[DagsterRunStatus, End] = {status: end for end, status in STATUSES.items()}


class RunEnds:
    """Decides which runs of a sensor's upstreams are completions, at a time."""

    def __init__(self, spec: SensorConfig, instance: dg.DagsterInstance, at: datetime) -> None:
        self.spec = spec
        self.instance = instance
        self.at = at
        asked = {end for name in spec.names for end in ends_of(spec.ended, name)} or SUCCESS_ALONE
        self.asked: list[End] = [end for end in ENDS if end in asked]
        """The ends that are completions of some upstream."""
        self.undecided: set[str] = set()
        """Failed runs that may still be retried: if they are not, their failure is an end."""
        self.uncounted: list[Uncounted] = []
        """The runs that do not count, and why."""
        self.unfinished: dict[str, str] = {}
        """For upstreams with an unfinished run that would not count, why it would not."""

    @property
    def statuses(self) -> list[DagsterRunStatus]:
        """The statuses of the runs to read."""
        return [STATUSES[end] for end in self.asked]

    @cached_property
    def _retries(self) -> bool:
        return bool(self.instance.run_retries_enabled)

    def end_of(self, upstream: str, record: RunRecord) -> End | None:
        """Returns how a run ended, if that is a completion of the upstream."""
        end = _ENDS.get(record.dagster_run.status)
        if end is None or end not in ends_of(self.spec.ended, upstream):
            return None
        if end == "failure":
            retried = may_be_retried(record, self.at, self._retries)
            if retried is None:
                self.undecided.add(record.dagster_run.run_id)
            if retried is not False:
                return None
        return end

    def count(self, completion: Completion, record: RunRecord) -> bool:
        """Returns True if a completion counts; otherwise keeps it for messages."""
        of = completion
        why = self._why_not(record, of.upstream, of.key, of.completed_at, of.ended)
        if why is None:
            return True
        self.uncounted.append(Uncounted(completion=completion, why=why))
        return False

    def would_count(self, upstream: str, record: RunRecord, key: str | None) -> bool:
        """Returns True if an unfinished run would count."""
        why = self._why_not(record, upstream, key)
        if why is not None:
            self.unfinished[upstream] = f"unfinished run {record.dagster_run.run_id[:8]}: {why}"
        return why is None

    def _why_not(
        self,
        record: RunRecord,
        upstream: str,
        key: str | None,
        completed_at: datetime | None = None,
        ended: End | None = None,
    ) -> str | None:
        run = record.dagster_run
        work = UpstreamWork(
            upstream=upstream,
            completed_at=completed_at,
            key=key,
            run_id=run.run_id,
            ended=ended,
            run_tags=MappingProxyType(dict(run.tags)),
            run_config=MappingProxyType(dict(run.run_config)),
        )
        return why_not(self.spec.counts, work)
