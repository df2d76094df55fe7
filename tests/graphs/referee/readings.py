"""The words of the contract that allow two readings."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Reading:
    """How words of the contract are read that allow two.

    Args:
        part_again_holds: A launch of which only other parts are executed again still has the
            downstream to make, if it never has been made there.
        backfill_run_uses: The downstream's own run in a requested backfill uses up what others
            completed since the request.
        backfill_uses_from_start: A backfill by hand uses up what came before it was asked for, and
            not what came before its run of the downstream.
        any_partition_requested: What is given back waits for a tick that requests no partition of
            an upstream, and not only none that maps to its own.
        retry_runs: A failed run that Dagster will retry counts as unfinished for ``wait``.
        part_again_uses: A re-execution that makes an upstream, too, uses up what others completed
            before it.
        any_request_leaves_over: What a request left over, that no quorum asked for, begins no wait
            either, and whatever any part of the condition took for ready was in its batch.
        enough_is_whole: An early request below a quorum is a whole one if its own launch makes
            enough for the quorum, and not only if it makes all that was missing.
    """

    part_again_holds: bool = True
    backfill_run_uses: bool = False
    backfill_uses_from_start: bool = False
    any_partition_requested: bool = False
    retry_runs: bool = True
    part_again_uses: bool = False
    any_request_leaves_over: bool = False
    enough_is_whole: bool = False


FIRST = Reading()
OTHERS = [replace(FIRST, **{f.name: not getattr(FIRST, f.name)}) for f in fields(Reading)]
