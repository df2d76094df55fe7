"""Plays the tests and a live daemon on the wheel, on each release of Dagster and each Python. Fails
if one of them does, or if none of the Pythons is here.

python -m tests.compat --releases 1.12.0 newest --pythons 3.11
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from project.paths import ROOT
from tests.compat.live import LiveError, play
from tests.compat.room import NEWEST, Outcome, Room, build_wheel, interpreters

RELEASES = ("1.12.0", "1.12.22", "1.13.0", NEWEST)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
HEADS = ("Python", "Dagster", "tests", "both forms, twice")
ONCE = Outcome("exactly once a batch")
LEFT_OUT = Outcome("left out")
NOTHING = Outcome("")


def main() -> int:
    arguments = _arguments()
    folder: Path = arguments.folder.resolve()
    wheel = build_wheel(folder / "wheel")
    rows: list[tuple[str, str, Outcome, Outcome]] = []
    for version, python in interpreters(arguments.pythons).items():
        if python is None:
            rows.append((version, "not on this machine", NOTHING, NOTHING))
            continue
        rooms = [Room(folder / f"{version}-{r}", python, r) for r in arguments.releases]
        for row in _rows(version, rooms, wheel, arguments):
            print(*row, sep="  ", flush=True)
            rows.append(row)
    print(tabulate(rows, HEADS, tablefmt="github", disable_numparse=True))
    passed = all(tests.passed and live.passed for _, _, tests, live in rows)
    return int(not passed or all(row[2:] == (NOTHING, NOTHING) for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument("--releases", nargs="+", default=RELEASES, help="of Dagster, or newest")
    parser.add_argument("--pythons", nargs="+", default=PYTHONS)
    parser.add_argument("--pytest", default="-n 2", metavar="OPTIONS")
    parser.add_argument("--only", choices=("tests", "live"), help="leave the other out")
    parser.add_argument("--folder", type=Path, default=ROOT / ".compat", help="kept, to be reused")
    return parser.parse_args()


def _rows(
    version: str, rooms: list[Room], wheel: Path, arguments: argparse.Namespace
) -> Iterator[tuple[str, str, Outcome, Outcome]]:
    """Yields what came of each release, and of an upgrade and a rollback over all of them."""
    for room in rooms:
        room.install(wheel)
        room.fill()
        tests = room.test(arguments.pytest) if arguments.only != "live" else LEFT_OUT
        yield version, room.dagster, tests, _live(room, room, arguments)
    if len(rooms) > 1:
        old, new = rooms[0], rooms[-1]
        path = f"{old.dagster} → {new.dagster} → {old.dagster}"
        yield version, path, NOTHING, _live(old, new, arguments)


def _live(first: Room, second: Room, arguments: argparse.Namespace) -> Outcome:
    if arguments.only == "tests":
        return LEFT_OUT
    try:
        play(first.folder / f"live-{second.release}", first, second)
    except LiveError as error:
        return Outcome(f"failed: {error}", passed=False)
    return ONCE


if __name__ == "__main__":
    sys.exit(main())
