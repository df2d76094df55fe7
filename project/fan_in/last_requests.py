"""When a key was requested before."""

from dataclasses import dataclass, field, replace
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class LastRequests:
    """The last requests of a key.

    Args:
        used_at: When completions were last used up, by a whole batch or by hand, whatever upstreams
            there are now; None if that is not known.
        at: When a whole batch was last requested. A cursor holds this, ``members`` and ``early_at``
            only for a deadline, which alone needs them.
        members: The upstreams in that batch; None if unknown.
        early_at: When the last early request was made.
        used_before: When completions were used up before ``used_at``, as far as this tick has read
            it; at least the first and the last time of each day. No cursor holds it.
    """

    used_at: datetime | None = None
    at: datetime | None = None
    members: frozenset[str] | None = None
    early_at: datetime | None = None
    used_before: tuple[datetime, ...] = field(default=(), compare=False)

    def with_used(self, at: datetime | None) -> "LastRequests":
        """Returns the last requests, if completions were used up at a time."""
        if at is None or at == self.used_at:
            return self
        if self.used_at is None:
            return replace(self, used_at=at)
        older, newer = sorted((at, self.used_at))
        return replace(self, used_at=newer, used_before=_with_time(self.used_before, older))

    def with_request(self, at: datetime, members: frozenset[str], *, early: bool) -> "LastRequests":
        """Returns the last requests, with one that may be newer."""
        known = self.early_at if early else self.at
        if known is not None and at < known:
            return self
        if early:
            return replace(self, early_at=at)
        return replace(self, at=at, members=members).with_used(at)

    @property
    def any_at(self) -> datetime | None:
        """When the sensor last requested the key, whole or early."""
        return max((at for at in (self.at, self.early_at) if at is not None), default=None)

    @property
    def used_with(self) -> frozenset[str] | None:
        """The upstreams in the batch that was last used up; None if unknown, or if it was by
        hand."""
        return self.members if self.at == self.used_at else None


NEVER_REQUESTED = LastRequests()


def _with_time(times: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    """Returns these times and one more, in order; of each day in UTC only the first and the last,
    so that each local day that has any has one of them."""
    found = sorted({*times, at})
    around = zip([None, *found], found, [*found[1:], None], strict=False)
    return tuple(
        time
        for before, time, after in around
        if before is None or after is None or before.date() != after.date()
    )
