"""``fan-in replay``: what other rules would have requested, had they been there."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import click

from ..cli.errors import DIVERGENCE
from ..cli.export import opened_beside
from ..cli.history_options import Counted, Source, history_options, progress
from ..cli.output import Page, iso
from ..inspect.fan_ins import FanInSpec, Rule
from ..windows import format_duration, format_time, longest_window, window_of
from .alternatives import DURATION, LIKES, Alternative, parse, rule_words
from .compare import Comparison, Divergence, DivergenceKind
from .events import Ended, Event, History, Materialized, Member
from .mechanisms import Firing, Mechanism
from .picture import Picture
from .simulated import SimulatedFanIn
from .simulation import Simulation

MOST_KEPT = 1000
"""How many divergences and batches are kept to be shown; the file of --out has all."""

AS_IT_IS = "as it is"


@click.command("replay")
@history_options
@click.option("--like", type=click.Choice(LIKES), help="By which rule.")
@click.option("--within", metavar="WINDOW", help="Another window: 12h, or day/Europe/Berlin.")
@click.option("--no-window", is_flag=True, help="No window.")
@click.option("--at-least", metavar="N", help="So many upstreams are enough; or all.")
@click.option("--settle", metavar="DURATION", help="Wait until none has completed so long; none.")
@click.option("--overlap/--no-overlap", default=None, help="Beside a running downstream, or not.")
@click.option("--idle/--no-idle", default=None, help="Wait for running upstreams, or not.")
@click.option("--manual", type=click.Choice(["ignore", "consume"]), help="What runs by hand do.")
@click.option("--zone", metavar="ZONE", help="The time zone of the example's machine.")
@click.option(
    "--try",
    "tries",
    multiple=True,
    metavar="ALTERNATIVE",
    help='One more alternative, like "like=condition, within=12h, overlap=no". Repeat it.',
)
@click.option(
    "--interval",
    type=DURATION,
    metavar="DURATION",
    help="Tick so often; by default when the sensor really did, and else so often as it may.",
)
@click.option(
    "--runs-last",
    type=DURATION,
    metavar="DURATION",
    help="How long a run lasts that never was; by default as long as the others on average.",
)
@click.option(
    "--tolerance",
    type=DURATION,
    metavar="DURATION",
    help="So far apart is at the same time; by default two ticks.",
)
@click.option("--show", default=20, metavar="N", help="Print so many rows of each table.")
@click.option(
    "--plot",
    "plots",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it, as .png or .svg. Repeat it for both.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a report that needs no other file.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write every request and every divergence as JSON lines.",
)
@click.pass_context
def replay(
    context: click.Context,
    source: Source,
    like: Any,
    within: str | None,
    no_window: bool,
    at_least: str | None,
    settle: str | None,
    overlap: bool | None,
    idle: bool | None,
    manual: str | None,
    zone: str | None,
    tries: Sequence[str],
    interval: timedelta | None,
    runs_last: timedelta | None,
    tolerance: timedelta | None,
    show: int,
    plots: Sequence[Path],
    html: Path | None,
    out: Path | None,
) -> None:
    """Plays what really happened to DOWNSTREAM through its own rule and through others.

    It prints when each would have requested a run, what was really requested, and every batch on
    which they part, with the cause. It exits with 1 if there is one. Options like --within make
    one alternative; each --try makes one more. DOWNSTREAM is a job, an asset's key, or a sensor's
    name; it may be left out if there is only one.
    """
    if no_window and within is not None:
        raise click.UsageError("give --within or --no-window, not both")
    for path in plots:
        if path.suffix.lower() not in (".png", ".svg"):
            raise click.UsageError(f"--plot {path}: name it .png or .svg")
    given = Alternative(
        like=like,
        within="none" if no_window else within,
        at_least=at_least,
        settle=settle,
        overlap=overlap,
        idle=idle,
        manual=manual,
        zone=zone,
    )
    alternatives = [*[given] * (given != Alternative()), *map(parse, tries)]
    history = source.open(
        lambda fan_in: [a.rule(fan_in) for a in alternatives],
        lambda fan_in: [a.kind(fan_in) for a in alternatives],
    )
    played = Replay(
        history,
        alternatives,
        interval=interval,
        runs_last=runs_last,
        tolerance=tolerance,
    )
    with opened_beside(out.parent if out else None) as (path, lines):
        with progress(history, "replaying") as tell:
            for at in played.run(lines if out else None):
                tell(at)
        played.check()
        lines.close()
        if out is not None:
            path.replace(out)
    played.print(Page(), show)
    if plots or html is not None:
        played.draw(plots, html)
    if any(
        score.parts[part] for score in played.comparison.scores.values() for part in DivergenceKind
    ):
        context.exit(DIVERGENCE)


class Replay:
    """A history, its alternatives, and what came of them.

    Args:
        history: The history.
        alternatives: The alternatives to its own rule, which is always played.
        interval: Tick so often; None for the ticks of the history.
        runs_last: How long a run lasts that never was.
        tolerance: So far apart is at the same time.
    """

    def __init__(
        self,
        history: History,
        alternatives: Sequence[Alternative],
        *,
        interval: timedelta | None = None,
        runs_last: timedelta | None = None,
        tolerance: timedelta | None = None,
    ) -> None:
        self.history = history
        self.events = Counted(history)
        fan_in = history.fan_in
        tick = interval or timedelta(seconds=history.interval)
        own = Alternative()
        alternatives = [a for a in alternatives if not _is_own(a, fan_in)]
        names = _different([AS_IT_IS, *(alternative.name for alternative in alternatives)])
        self.mechanisms: list[Mechanism] = [
            alternative.mechanism(
                fan_in, since=history.since, patience=2 * tick, runs_last=runs_last, name=name
            )
            for name, alternative in zip(names, [own, *alternatives], strict=True)
        ]
        self.rules = [a.rule(fan_in) for a in alternatives if a.like != "example"]
        reality = SimulatedFanIn("really", fan_in.kind, fan_in.rule, fan_in, None)
        self.picture = Picture(history, names)
        self.divergences: list[Divergence] = []
        self.batches: dict[tuple[str | None, frozenset[str]], _Batch] = {}
        self.comparison = Comparison(
            self.mechanisms,
            reality,
            since=history.since,
            tolerance=2 * tick if tolerance is None else tolerance,
            report=self._part,
        )
        self.interval = interval
        self.completions = 0
        self.more_batches = False
        self._lines: IO[str] | None = None
        self._sees: type = Ended if fan_in.kind == "sensor" else Materialized
        self._play = Simulation(
            replace(history, events=self.events),
            self.mechanisms,
            [reality],
            interval=interval,
            on_event=self._event,
            on_tick=self.comparison.now,
            on_firing=self._fire,
        )

    def run(self, lines: IO[str] | None = None) -> Iterator[datetime]:
        """Plays it, and yields where it is; writes what comes of it, if anywhere."""
        self._lines = lines
        yield from self._play.run()
        self.comparison.finish()
        for name, score in self.comparison.scores.items():
            parts = {part.value: count for part, count in score.parts.items()}
            self._write(
                score=name, requests=score.fired, same=score.same, causes=score.causes, **parts
            )

    def check(self) -> None:
        """Raises NoHistory if nothing happened."""
        self.events.check()

    # --- what comes of it --------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        if event.at >= self.history.since and isinstance(event, self._sees):
            self.completions += getattr(event, "success", True)
        self.picture.event(event)
        firing = self.comparison.event(event)
        if firing is not None:
            self._batch(REALLY, firing)
            self._write(
                really=iso(firing.at),
                key=firing.key,
                batch=_members(firing.members),
                run_id=event.run_id,
            )

    def _fire(self, mechanism: Mechanism, firing: Firing) -> None:
        self.comparison.firing(mechanism, firing)
        self.picture.firing(mechanism.name, firing)
        self._batch(mechanism.name, firing)
        self._write(
            fired=mechanism.name, at=iso(firing.at), key=firing.key, batch=_members(firing.members)
        )

    def _part(self, divergence: Divergence) -> None:
        if len(self.divergences) < MOST_KEPT:
            self.divergences.append(divergence)
        self.picture.divergence(divergence)
        self._write(
            divergence=divergence.part.value,
            mechanism=divergence.mechanism,
            at=iso(divergence.at),
            really_at=iso(divergence.really_at),
            key=divergence.key,
            cause=divergence.cause,
            told=divergence.told,
            batch=_members(divergence.members),
        )

    def _batch(self, who: str, firing: Firing) -> None:
        name = (firing.key, firing.work)
        batch = self.batches.get(name)
        if batch is None:
            if len(self.batches) >= MOST_KEPT:
                self.more_batches = True
                return
            batch = self.batches[name] = _Batch(firing)
        batch.requested.setdefault(who, []).append(firing.at)

    def _write(self, **data: Any) -> None:
        if self._lines is not None:
            self._lines.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")

    # --- how it is told ----------------------------------------------------------------------

    @property
    def downstream(self) -> str:
        return self.history.fan_in.downstream

    @property
    def period(self) -> str:
        return f"{format_time(self.history.since)} to {format_time(self.history.until)}"

    @property
    def counts(self) -> str:
        return (
            f"{self.completions:,} completions, {self.comparison.really:,} requests,"
            f" {self.comparison.by_hand:,} runs by hand"
        )

    @property
    def rule(self) -> str:
        return rule_words(self.history.fan_in.rule)

    @property
    def notes(self) -> Sequence[str]:
        """What is to be known besides."""
        history = self.history
        notes = []
        if self.interval is None and history.ticks_from is None:
            every = format_duration(timedelta(seconds=history.interval))
            notes.append(f"No ticks are stored: the mechanisms tick every {every}.")
        elif self.interval is None and history.ticks_from > history.since:
            notes.append(
                f"Ticks are stored from {format_time(history.ticks_from)} on: before, the"
                f" mechanisms tick every {format_duration(timedelta(seconds=history.interval))}."
            )
        if history.fan_in.others:
            notes.append(f"Taken as true: {', '.join(history.fan_in.others)}.")
        rules = [history.fan_in.rule, *self.rules]
        needed = longest_window(
            window_of(rule.within, name) for rule in rules for name in rule.upstreams
        )
        begins = history.begins
        if begins is not None and (needed is None or history.since - begins < needed):
            notes.append(
                f"What completed before {format_time(begins)} is not in the history, and a longer"
                " window would have seen it."
            )
        return notes

    score_heads = ("mechanism", "requests", "same batch", *(part.value for part in DivergenceKind))

    def score_rows(self) -> Iterator[Sequence[str]]:
        for name, score in self.comparison.scores.items():
            parts = (score.parts[part] for part in DivergenceKind)
            yield name, *(f"{n:,}" for n in (score.fired, score.same, *parts))

    divergence_heads = ("time (UTC)", "key", "mechanism", "how", "cause", "it was said")

    def divergence_rows(self, most: int) -> Iterator[Sequence[str]]:
        for divergence in sorted(self.divergences[:most], key=lambda d: d.at):
            how = divergence.part.value
            if (
                divergence.really_at is not None
                and divergence.part is not DivergenceKind.ONLY_REALLY
            ):
                apart = format_duration(abs(divergence.really_at - divergence.at))
                how = f"{how} by {apart}"
            yield (
                _short_time(divergence.at),
                divergence.key or "",
                divergence.mechanism,
                how,
                divergence.cause,
                divergence.told,
            )

    def more_divergences(self, most: int) -> int:
        scores = self.comparison.scores.values()
        return max(0, sum(sum(score.parts.values()) for score in scores) - most)

    def batch_heads(self) -> Sequence[str]:
        return "key", "batch", REALLY, *(mechanism.name for mechanism in self.mechanisms)

    def batch_rows(self, most: int) -> Iterator[Sequence[str]]:
        for batch in list(self.batches.values())[:most]:
            times = (
                ", ".join(map(_short_time, batch.requested.get(who, ())))
                for who in (REALLY, *(mechanism.name for mechanism in self.mechanisms))
            )
            members = ", ".join(
                f"{m.upstream} {m.run_id[:8] if m.run_id else _short_time(m.at)}"
                for m in batch.firing.members
            )
            yield batch.firing.key or "", members, *times

    def has_more_batches(self, most: int) -> bool:
        return self.more_batches or len(self.batches) > most

    def print(self, page: Page, most: int) -> None:
        """Writes it for people."""
        page.line(f"{self.downstream}: {self.period}", style="bold")
        page.line(f"{self.counts}; {self.rule}")
        for note in self.notes:
            page.line(note, style="dim")
        page.gap()
        page.table(self.score_heads, self.score_rows(), indent=0)
        page.gap()
        if self.divergences:
            page.line("Divergences", style="bold")
            page.table(self.divergence_heads, self.divergence_rows(most), indent=0)
            if more := self.more_divergences(most):
                page.line(f"and {more:,} more; -o FILE writes all", style="dim")
        else:
            page.line("No divergence.")
        if self.batches and most:
            page.gap()
            page.line("Batches, and when each was requested", style="bold")
            page.table(self.batch_heads(), self.batch_rows(most), indent=0)
            if self.has_more_batches(most):
                page.line("and more; -o FILE writes all", style="dim")

    def draw(self, plots: Sequence[Path], html: Path | None) -> None:
        """Draws it, and writes the report."""
        from . import plot
        from .report import report

        figure = plot.draw(self.picture)
        try:
            for path in plots:
                plot.save(figure, path)
                click.echo(f"{path}: a picture", err=True)
            if html is not None:
                html.write_text(report(self, plot.as_svg(figure)), "utf-8")
                click.echo(f"{html}: a report", err=True)
        except OSError as error:
            raise click.UsageError(
                f"{error.filename} cannot be written: {error.strerror}"
            ) from error


REALLY = "really"


class _Batch:
    """A batch, and when who requested it."""

    def __init__(self, firing: Firing) -> None:
        self.firing = firing
        self.requested: dict[str, list[datetime]] = {}


def _is_own(alternative: Alternative, fan_in: FanInSpec) -> bool:
    """True when an alternative is nothing else than what the fan-in is."""
    if alternative.like == "example":
        return False
    own: Rule = fan_in.rule
    return alternative.kind(fan_in) == fan_in.kind and alternative.rule(fan_in) == own


def _different(names: Sequence[str]) -> list[str]:
    """Returns the names, numbered where two are the same."""
    found: list[str] = []
    for name in names:
        again = sum(known == name or known.startswith(f"{name} (") for known in found)
        found.append(f"{name} ({again + 1})" if again else name)
    return found


def _members(members: Sequence[Member]) -> list[list[str | None]]:
    return [[m.upstream, iso(m.at), m.id, m.run_id] for m in members]


def _short_time(at: datetime) -> str:
    return format_time(at).removesuffix(" UTC")
