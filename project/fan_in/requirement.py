"""Requirements: which upstreams a batch needs, if not all.

Examples: ``upstream_succeeded(a) & (upstream_succeeded(b) | upstream_succeeded(c))`` and
``at_least(2)``. An upstream that a requirement does not name is optional: it joins the batch if it
is ready, and the batch does not wait for it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .errors import FanInError


class Requirement:
    """A boolean expression over upstreams, each of which is ready or not."""

    def __and__(self, other: "Requirement") -> "Requirement":
        return AllOf((self, other))

    def __or__(self, other: "Requirement") -> "Requirement":
        return AnyOf((self, other))

    def __invert__(self) -> "Requirement":
        return Not(self)

    def holds(self, ready: Collection[str], upstreams: Sequence[str]) -> bool:
        """True if the ready upstreams are enough."""
        raise NotImplementedError

    def names(self, upstreams: Sequence[str]) -> Iterator[str]:
        """Yields the upstreams that it names, once per mention."""
        raise NotImplementedError


@dataclass(frozen=True)
class Needs(Requirement):
    """True if one upstream is ready."""

    upstream: str

    def holds(self, ready: Collection[str], upstreams: Sequence[str]) -> bool:
        return self.upstream in ready

    def names(self, upstreams: Sequence[str]) -> Iterator[str]:
        yield self.upstream

    def __str__(self) -> str:
        return self.upstream


@dataclass(frozen=True)
class Not(Requirement):
    """True if a requirement is not met."""

    part: Requirement

    def holds(self, ready: Collection[str], upstreams: Sequence[str]) -> bool:
        return not self.part.holds(ready, upstreams)

    def names(self, upstreams: Sequence[str]) -> Iterator[str]:
        return self.part.names(upstreams)

    def __str__(self) -> str:
        return f"not {self.part}"


@dataclass(frozen=True)
class _Parts(Requirement):
    parts: tuple[Requirement, ...]

    def names(self, upstreams: Sequence[str]) -> Iterator[str]:
        for part in self.parts:
            yield from part.names(upstreams)


@dataclass(frozen=True)
class AllOf(_Parts):
    """True if all parts are."""

    def holds(self, ready: Collection[str], upstreams: Sequence[str]) -> bool:
        return all(part.holds(ready, upstreams) for part in self.parts)

    def __str__(self) -> str:
        return f"({' and '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class AnyOf(_Parts):
    """True if any part is."""

    def holds(self, ready: Collection[str], upstreams: Sequence[str]) -> bool:
        return any(part.holds(ready, upstreams) for part in self.parts)

    def __str__(self) -> str:
        return f"({' or '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class AtLeast(_Parts):
    """True if at least ``count`` parts are; without parts, if that many upstreams are ready."""

    count: int

    def holds(self, ready: Collection[str], upstreams: Sequence[str]) -> bool:
        if not self.parts:
            return len(set(ready) & set(upstreams)) >= self.count
        return sum(part.holds(ready, upstreams) for part in self.parts) >= self.count

    def names(self, upstreams: Sequence[str]) -> Iterator[str]:
        return super().names(upstreams) if self.parts else iter(upstreams)

    def __str__(self) -> str:
        if not self.parts:
            return f"at least {self.count}"
        return f"at least {self.count} of ({', '.join(map(str, self.parts))})"


def at_least(count: int, *parts: Requirement) -> Requirement:
    """Returns a requirement that is met if at least ``count`` of the parts are met; without parts,
    if at least ``count`` of all upstreams are ready.

    It is not met by fewer.

    Args:
        count: How many, from 1.
        parts: Requirements such as ``upstream_succeeded(a)``.

    Raises:
        FanInError: ``count`` is not from 1 to the number of parts.
    """
    check_count(count, len(parts) or None)
    return AtLeast(parts, count)


def check_count(count: int, of: int | None) -> None:
    """Raises FanInError unless ``count`` is from 1 to ``of`` (if it is known)."""
    if not isinstance(count, int) or count < 1 or (of is not None and count > of):
        most = f"to {of}" if of is not None else "up"
        raise FanInError(f"at least {count!r} is no quorum here: give a number from 1 {most}")


def check_requirement(when: Requirement, upstreams: Sequence[str], name: str = "when") -> None:
    """Raises FanInError unless the requirement names only these upstreams, can be met by them, and
    is not met before anything completes."""
    if not isinstance(when, Requirement):
        raise FanInError(
            f"{name}={when!r} is not a requirement: write upstream_succeeded(job) & …, or"
            " at_least(2)"
        )
    unknown = sorted(set(when.names(upstreams)) - set(upstreams))
    if unknown:
        raise FanInError(
            f"{name}={when} names {', '.join(map(repr, unknown))}, which is not among the"
            f" upstreams: add it to upstream_jobs, or take it out of {name}"
        )
    check_quorums(when, len(upstreams))
    check_met(when, upstreams, name)


def check_quorums(when: Requirement, of: int) -> None:
    """Raises FanInError if a quorum is greater than the number of upstreams."""
    for part in _quorums(when):
        if not part.parts:
            check_count(part.count, of)


def check_met(when: Requirement, upstreams: Sequence[str], name: str) -> None:
    """Raises FanInError if a requirement is met before anything completes."""
    if when.holds((), upstreams):
        raise FanInError(
            f"{name}={when} is met when nothing has completed, so it would fire at every tick:"
            " name an upstream that has to be ready"
        )


def _quorums(when: Requirement) -> Iterator[AtLeast]:
    if isinstance(when, AtLeast):
        yield when
    if isinstance(when, Not):
        yield from _quorums(when.part)
    if isinstance(when, _Parts):
        for part in when.parts:
            yield from _quorums(part)
