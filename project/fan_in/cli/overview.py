"""The state of many fan-ins on one screen: what needs attention first, then what waits."""

from collections.abc import Iterator, Sequence

from ..inspect.outlook import Outlook
from ..inspect.status import Status
from ..messages import MOST_NAMED, some
from .output import Page, without_count

MOST_SHOWN = 10
"""How many problems, and how many waiting fan-ins, have a line before the rest are counted."""

MOST_SHARING = 3
"""How many of the fan-ins that share a problem are named."""

BESIDES = 8
"""How many lines of a screen the rest and the prompt need."""


def write_overview(page: Page, statuses: Sequence[Status]) -> None:
    """Writes an overview that fits the screen."""
    troubled = [one for one in statuses if one.problems]
    # A batch that is a problem is shown there, with what it waits for.
    waiting = [one for one in statuses if not one.of_batches and _batches(one)]
    waiting.sort(key=lambda one: _batches(one)[0].newest, reverse=True)
    quiet = len(statuses) - len({one.fan_in.name for one in (*troubled, *waiting)})
    need = "needs" if len(troubled) == 1 else "need"
    page.line(
        f"{len(statuses)} fan-ins: {len(troubled)} {need} attention, {len(waiting)}"
        f" {'waits' if len(waiting) == 1 else 'wait'}, {quiet}"
        f" {'has' if quiet == 1 else 'have'} nothing new.",
        style="bold",
    )
    room = page.height and max(page.height - BESIDES, 2)
    for_waiting = room and min(len(waiting), MOST_SHOWN, room // 2)
    problems = [f"! {line}" for line in _problems(troubled)]
    used = _write_some(
        page, problems, room and room - (for_waiting or 0), "problems", style="bold red"
    )
    if waiting:
        page.gap()
        page.line("Waiting, most recent first:")
        lines = [_waiting_line(one, page.console.width - 2) for one in waiting]
        _write_some(page, lines, room and room - used, "wait", indent=2)
    page.gap()
    page.line("One in full: fan-in status DOWNSTREAM; all in full: fan-in status --all.")


def _write_some(
    page: Page,
    lines: Sequence[str],
    room: int | None,
    what: str,
    *,
    style: str = "",
    indent: int = 0,
) -> int:
    """Writes as many of the first lines as fit; returns how many lines that took."""
    used = 0
    for number, line in enumerate(lines):
        rows = len(page.broken(line, indent, 2))
        if number == MOST_SHOWN or (room is not None and number and used + rows > room):
            page.line(f"and {len(lines) - number} more {what}", indent=indent)
            return used + 1
        page.line(line, style=style, indent=indent, hanging=2)
        used += rows
    return used


def _problems(troubled: Sequence[Status]) -> Iterator[str]:
    """Yields each problem with the fan-ins that have it, the most shared first."""
    sharing: dict[str, list[str]] = {}
    for one in troubled:
        for problem in one.problems:
            sharing.setdefault(problem, []).append(one.fan_in.name)
    for problem, names in sorted(sharing.items(), key=lambda item: -len(item[1])):
        more = len(names) - MOST_SHARING
        yield f"{some(names[:MOST_SHARING], ', ', more=max(more, 0))}: {problem}"


def _batches(one: Status) -> Sequence[Outlook]:
    """Returns the batches that wait, most recent first."""
    return [outlook for outlook in one.outlooks.pending if outlook.waits]


def _waiting_line(one: Status, width: int) -> str:
    outlook, *others = _batches(one)
    key = "" if outlook.key is None else f" {outlook.key}"
    keys = "key" if len(others) == 1 else "keys"
    after = f" (and {len(others)} more {keys})" if others else ""
    before = f"{one.fan_in.name}{key}: "
    return f"{before}{_brief(outlook, width - len(before) - len(after))}{after}"


def _brief(outlook: Outlook, width: int) -> str:
    """Returns the state of one batch, with as many names as fit."""
    decision = outlook.decision
    count = f"{len(decision.ready)} of {len(decision.statuses)}"
    if outlook.requests:
        return f"{count}, to be requested at the next tick"
    if outlook.let_go and not decision.ready:
        return outlook.let_go
    if decision.complete:
        return f"{count}, {without_count(outlook, outlook.reason)}"
    words, names = f"{count}, waiting", [status.upstream for status in decision.missing]
    for named in range(min(len(names), MOST_NAMED), 0, -1):
        words = f"{count}, waiting for {some(names[:named], ', ', more=len(names) - named)}"
        if len(words) <= width:
            break
    return words
