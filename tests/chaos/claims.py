"""Which completions the requests of a history say they used, and what is wrong with that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from .findings import Finding
from .history import Completion, History, Request
from .ticks import VISIBLE


@dataclass(frozen=True, kw_only=True)
class Firing:
    """A request, with the completions it used and its place among all that happened."""

    request: Request
    used: Mapping[str, Completion]
    at: datetime


class Claims:
    """The claims of one history's requests.

    Args:
        history: Which.
        by_launches: Whether the referee of graphs says what was used up, and what may run.
    """

    def __init__(self, history: History, by_launches: bool) -> None:
        self.history = history
        self.downstream = history.downstream
        self.by_launches = by_launches
        self.by_id = {(c.letter, c.id): c for c in history.completions}

    def newest(self, letter: str, before: datetime) -> Completion | None:
        """Returns the newest completion of an upstream before a time."""
        known = [c for c in self.history.completions if c.letter == letter and c.at < before]
        return max(known, default=None)

    @cached_property
    def firings(self) -> Sequence[Firing]:
        """The requests in the order of their decisions."""
        return sorted(map(self._firing, self.history.requests), key=lambda f: f.at)

    def _firing(self, request: Request) -> Firing:
        used = {
            letter: completion
            for letter, id_ in request.claims.items()
            if (completion := self.by_id.get((letter, id_)))
        }
        if set(used) != set(self.downstream.upstreams):
            known = [self.newest(letter, request.tick_at) for letter in self.downstream.upstreams]
            used = {c.letter: c for c in known if c} | used
        # The decision fell between the tick's begin and the run's creation; here at its earliest.
        moments = [request.tick_at, *(c.at for c in used.values() if c.at <= request.created)]
        if not self.downstream.overlap:
            moments += [
                r.first_end for r in self.history.requests if self._ended_within(r, request)
            ]
        return Firing(request=request, used=used, at=max(moments))

    def _ended_within(self, run: Request, request: Request) -> bool:
        return run.first_end is not None and request.tick_at <= run.first_end <= request.created

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with them."""
        return [finding for findings in self._by_run.values() for finding in findings]

    @cached_property
    def suspects(self) -> frozenset[str]:
        """The runs of the requests that are wrong."""
        return frozenset(run for run, findings in self._by_run.items() if findings)

    @cached_property
    def _by_run(self) -> Mapping[str, Sequence[Finding]]:
        found: dict[str, Sequence[Finding]] = {}
        used_before: dict[str, Completion] = {}
        for number, firing in enumerate(self.firings):
            run_id = firing.request.run_id
            found[run_id] = [
                Finding(kind=kind, at=firing.at, why=f"run {run_id[:8]} {why}")
                for kind, why in self._faults(firing, used_before, self.firings[:number])
            ]
            for letter, completion in firing.used.items():
                known = used_before.get(letter)
                used_before[letter] = max(known, completion) if known else completion
        return found

    def _faults(
        self,
        firing: Firing,
        used_before: Mapping[str, Completion],
        before: Sequence[Firing],
    ) -> Iterator[tuple[str, str]]:
        """Yields a kind and a reason for each thing that is wrong with a request."""
        request, names = firing.request, self.downstream.upstreams
        claimed = {(letter, id_) for letter, id_ in request.claims.items()}
        if set(request.claims) != set(names) or not claimed <= set(self.by_id):
            strangers = sorted(f"{letter} {id_}" for letter, id_ in claimed - set(self.by_id))
            of = f"which are not in the log: {', '.join(strangers)}" if strangers else "not all"
            yield "unexplained", f"says it used {sorted(request.claims) or 'nothing'}, {of}"
            return
        for letter, completion in firing.used.items():
            which = f"{letter} of {completion.at:%H:%M:%S.%f}"
            if completion.at > request.created:
                yield "unexplained", f"used {which}, which completed after the run was stored"
            used_up = letter in used_before and completion <= used_before[letter]
            if used_up and not self.by_launches:
                yield "duplicate", f"used {which}, which an earlier request had used up"
            if request.tick_at - completion.at >= self.downstream.within:
                yield "stale", f"used {which}, outside the window at the tick"
            newest = self.newest(letter, request.tick_at - VISIBLE)
            if newest is not None and completion < newest:
                yield "stale", f"used {which} and not {letter} of {newest.at:%H:%M:%S.%f}"
        may_run = self.downstream.overlap or self.by_launches
        for other in [] if may_run else before:
            run = other.request
            ended = run.first_end is not None and run.first_end <= request.created + VISIBLE
            if run.created < request.tick_at - VISIBLE and not ended:
                yield "early", f"was requested beside the unfinished run {run.run_id[:8]}"
