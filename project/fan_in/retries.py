"""Failed runs that Dagster will retry: they are not over yet."""

from datetime import datetime, timedelta

import dagster as dg

RETRY_TAG = "dagster/will_retry"

UNDECIDED = timedelta(minutes=1)
"""How long after a failure Dagster may take to say whether it retries the run."""

LONGEST_WAIT_FOR_RETRY = timedelta(hours=1)
"""How long after a failure to wait for its retry. Dagster starts one within minutes or gives up
silently."""


def awaits_retry(record: dg.RunRecord, at: datetime, retries: bool) -> bool:
    """Returns True if a run has failed and will be retried, as far as is known at a time, and its
    retry has not been created.

    Args:
        record: The run.
        at: The time of the tick.
        retries: Whether the instance retries runs.
    """
    run = record.dagster_run
    if run.status is not dg.DagsterRunStatus.FAILURE:
        return False
    ended = record.end_time or record.update_timestamp.timestamp()
    age = timedelta(seconds=at.timestamp() - ended)
    # Dagster sets the tag shortly after it stores the failure.
    undecided = retries and RETRY_TAG not in run.tags and age < UNDECIDED
    return undecided or (run.is_complete_and_waiting_to_retry and age < LONGEST_WAIT_FOR_RETRY)


def may_be_retried(record: dg.RunRecord, at: datetime, retries: bool) -> bool | None:
    """Returns whether Dagster retries a run that has failed; None if that is not known yet.

    The retry is a run of its own. If it is not created for an hour, the failure is the end.
    """
    if awaits_retry(record, at, retries):
        return None
    run = record.dagster_run
    # With a retry created, it will never be waiting again.
    return run.tags.get(RETRY_TAG) == "true" and not run.is_complete_and_waiting_to_retry
