"""Where the contract's words allow two readings."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Reading:
    """How the words are read that allow two readings.

    Args:
        part_again_holds: A launch still has to make the downstream if it never made it and only
            other parts are re-executed.
        backfill_run_uses: The downstream's own run in a requested backfill uses up what other
            launches completed since the request.
        backfill_uses_from_start: A manual backfill uses up what came before it started, and not
            what came before its run of the downstream.
        any_partition_requested: A batch that was given back waits for a tick that requests no
            partition of an upstream at all, not only none that maps to its own.
        retry_runs: A failed run that Dagster will retry counts as unfinished for ``wait``.
        part_again_uses: A re-execution that also makes an upstream uses up what others completed
            before it.
        any_request_leaves_over: Leftovers begin no wait even if no quorum made the request; and its
            batch had every upstream that was ready by any part of the condition.
        enough_is_whole: An early request below a quorum is whole if its own launch makes enough for
            the quorum, and not only if it makes everything that was missing.
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
