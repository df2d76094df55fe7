"""Draws a replay as swim lanes: the upstreams, their windows, and who requested when."""

from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from ..errors import FanInError
from ..messages import plain
from ..windows import falls_out, window_of
from .picture import BY_HAND, COMPLETED, DIVERGED, FAILED, FIRED, Lane, Picture

INK, GREY, PAPER = "#1f2933", "#a0aec0", "#ffffff"
BLUE, ORANGE, VERMILION, PURPLE = "#0072b2", "#e69f00", "#d55e00", "#cc79a7"
"""From Okabe and Ito's colours, which colour-blind people can tell apart; shapes differ, too."""

ON_DARK = {INK: "#e4e7eb", GREY: "#52606d", PAPER: "none", BLUE: "#56b4e9"}
"""What a page with a dark background shows instead."""

# No link, date or program name: the same replay gives the same file.
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

MOST_LANES = 24
"""How many upstreams have a lane; the others are only counted."""

MOST_WINDOWS = 150
"""A lane with more completions than this has no windows, since they would cover each other."""

LONGEST_LABEL = 40


def check_installed() -> None:
    """Raises FanInError unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise FanInError(
            "a picture needs matplotlib, which is not installed: pip install 'dagster-fan-in[plot]'"
        ) from error


def draw(picture: Picture) -> Any:
    """Returns the figure."""
    from matplotlib import rc_context

    with rc_context(_settings()):
        figure = _draw(picture)
        # Laid out once: a second time, for the next file, would move things slightly.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def _settings() -> dict[Any, Any]:
    """Returns the only settings that apply: a name is drawn as it is, even with a dollar; texts
    stay texts; the same picture gives the same file."""
    from matplotlib import rcParamsDefault

    settings: dict[Any, Any] = dict(rcParamsDefault)
    settings |= {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "fan-in"}
    settings |= {"figure.facecolor": PAPER, "axes.facecolor": PAPER}
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings |= dict.fromkeys(inked, INK)
    # The backend opens windows, which are not needed.
    return {k: v for k, v in settings.items() if not k.startswith("backend")}


def _draw(picture: Picture) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    upstreams = list(picture.upstreams.values())
    more = len(upstreams) - MOST_LANES
    upstreams = upstreams[:MOST_LANES]
    lanes = [*upstreams, picture.really, *picture.mechanisms.values()]
    figure = Figure(figsize=(12, 1.6 + 0.42 * len(lanes)), layout="constrained")
    axes: Any = figure.add_subplot()
    for number, lane in enumerate(lanes):
        y = len(lanes) - number
        axes.axhline(y, color=GREY, linewidth=0.5, zorder=1)
        if number < len(upstreams):
            _upstream(axes, picture, lane, y)
        else:
            _marks(axes, lane.of(FIRED), y, marker="|", color=INK, markersize=12, label="requested")
            _marks(axes, lane.of(BY_HAND), y, marker="D", color=PURPLE, label="run by hand")
            style = {"marker": "x", "color": VERMILION, "markersize": 9}
            _marks(axes, lane.of(DIVERGED), y, **style, label="divergence")
    names = [_short(lane.name) for lane in lanes]
    axes.set_yticks(range(len(lanes), 0, -1), names)
    axes.set_ylim(0.4, len(lanes) + 0.6)
    axes.set_xlim(picture.since, picture.until)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("time (UTC)")
    axes.set_ylabel("upstreams and requests")
    title = f"When {_short(picture.fan_in.downstream)} was requested, and would have been"
    more_words = f"\n{more} more upstreams are not drawn" if more > 0 else ""
    axes.set_title(f"{title}{more_words}", loc="left")
    _legend(figure, axes)
    return figure


def _upstream(axes: Any, picture: Picture, lane: Lane, y: float) -> None:
    completed, window = lane.of(COMPLETED), window_of(picture.fan_in.rule.within, lane.name)
    if 0 < len(completed) <= MOST_WINDOWS:
        ends = [min(falls_out(window, at) or picture.until, picture.until) for at in completed]
        spans = [(at, end - at) for at, end in zip(completed, ends, strict=True)]
        axes.broken_barh(
            spans, (y - 0.22, 0.44), color=BLUE, alpha=0.15, zorder=0, label="inside its window"
        )
    _marks(axes, completed, y, marker="o", color=BLUE, label="completed")
    _marks(axes, lane.of(FAILED), y, marker="v", color=ORANGE, label="failed")


def _marks(axes: Any, times: list[datetime], y: float, **style: Any) -> None:
    if times:
        style = {"linestyle": "none", "markersize": 5, "zorder": 3, **style}
        axes.plot(times, [y] * len(times), **style)


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    if known:
        figure.legend(
            known.values(),
            known.keys(),
            loc="outside lower center",
            ncols=len(known),
            frameon=False,
            fontsize=9,
        )


def _short(name: str) -> str:
    name = plain(name)
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"


def save(figure: Any, path: Path) -> None:
    """Writes the figure, as PNG or SVG by the file's name."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = NO_METADATA if kind == "svg" else {"Software": None}
    _save(figure, path, format=kind, dpi=150, metadata=metadata)


def as_svg(figure: Any) -> str:
    """Returns the figure as an SVG element for a page."""
    file = StringIO()
    _save(figure, file, format="svg", metadata=NO_METADATA)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _save(figure: Any, to: Any, **arguments: Any) -> None:
    from matplotlib import rc_context

    with rc_context(_settings()):
        figure.savefig(to, **arguments)
