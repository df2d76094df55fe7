"""The monkey: what is done to the live Dagster, drawn from a seed, carried out and counted."""

import json
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from signal import SIGQUIT, SIGTERM
from typing import Any

from project.local.postgres import LocalPostgres

from .daemon import CARRIED_OUT, CRASH_POINTS, ORDER
from .definitions import AUTOMATION_SENSOR, SENSORS
from .processes import LiveDagster, Service, kill

DOOMED = 0.45
"""The share of the downstream runs' processes that are to be killed; some end sooner."""

LIFE = 4.5
"""Seconds after which a doomed process is killed, at the most."""

ORDER_STANDS = 25
"""Seconds after which an order to die at a point that no tick passes is taken back."""

KINDS = {
    "daemon": 30,
    "crash point": 36,
    "code server": 10,
    "cursor": 18,
    "daemon stopped": 4,
    "second daemon": 5,
    "database": 4,
}
"""Each kind of fault with how often it comes; the last two only on Postgres."""

ON_POSTGRES = ("second daemon", "database")

STOPS_TICKS = ("daemon", "crash point", "daemon stopped", "database")
"""After these the next fault waits until a sensor ticks again, however slow the machine is."""

REST = {
    "daemon": (5, 13),
    "crash point": (5, 13),
    "code server": (6, 12),
    "cursor": (1, 4),
    "daemon stopped": (5, 13),
    "second daemon": (4, 8),
    "database": (5, 10),
}
"""Between which bounds the seconds lie until the next fault: what was cut off is held back until it
is clear what became of it."""

CURSORS = ("reset", "empty", "old", "garbage", "truncated", "foreign", "other shape")
"""What can become of our sensor's cursor."""

AUTOMATION_CURSORS = ("reset", "old")
"""What can become of an automation sensor's, which is Dagster's own: at one that it cannot read
it would stop for good."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something bad.

    Args:
        kind: Of ``KINDS``.
        detail: The crash point, the way a cursor is broken, or nothing.
        sensor: Whose cursor.
        lasts: Seconds the daemon stays away, or the second one stays.
        rest: Seconds until the next fault.
    """

    kind: str
    detail: str = ""
    sensor: str = ""
    lasts: float = 0
    rest: float = 0


def plan(seed: int, storage: str) -> Iterator[Fault]:
    """Yields the faults of a seed, without end."""
    rng = random.Random(f"{seed} faults")
    kinds = [k for k in KINDS if storage == "Postgres" or k not in ON_POSTGRES]
    while True:
        (kind,) = rng.choices(kinds, [KINDS[k] for k in kinds])
        detail = sensor = ""
        lasts = 0.0
        if kind == "crash point":
            detail = rng.choice(CRASH_POINTS)
        elif kind == "cursor":
            sensor = rng.choice([*SENSORS, *[AUTOMATION_SENSOR] * 3])
            detail = rng.choice(AUTOMATION_CURSORS if sensor == AUTOMATION_SENSOR else CURSORS)
        elif kind == "daemon stopped":
            lasts = rng.uniform(8, 20)
        elif kind == "second daemon":
            lasts = rng.uniform(20, 45)
        yield Fault(
            kind=kind, detail=detail, sensor=sensor, lasts=lasts, rest=rng.uniform(*REST[kind])
        )


class Monkey:
    """Carries out a plan on a live Dagster.

    Args:
        live: Its victim.
        storage: "SQLite" or "Postgres".
        postgres: The database, on Postgres.
        seed: Of the plan.
    """

    def __init__(
        self, live: LiveDagster, storage: str, postgres: LocalPostgres | None, seed: int
    ) -> None:
        self.live = live
        self.postgres = postgres
        self.plan = plan(seed, storage)
        self.rng = random.Random(f"{seed} runs")
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.doomed: dict[int, float | None] = {}
        self.cursors: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=12))
        self.due = time.monotonic()
        self.last_tick = 0.0
        self.stopped: tuple[Fault, float] | None = None
        self.ordered: tuple[Fault, float] | None = None
        self.carried_out = 0
        self.later: list[tuple[float, Callable[[], Any]]] = []

    def step(self, *, calm: bool = False) -> None:
        """Does what is due; when calm, only what ends what was begun."""
        now = time.monotonic()
        for at, action in [one for one in self.later if now >= one[0]]:
            self.later.remove((at, action))
            action()
        self._follow_order(now, calm)
        if calm:
            self.due = now + 1
            return
        self._kill_runs(now)
        if self.stopped and self.last_tick > self.stopped[1]:
            self.due = now + self.stopped[0].rest
            self.stopped = None
        if now >= self.due and not self.stopped and not self.ordered:
            self._carry_out(next(self.plan), now)

    @property
    def at_rest(self) -> bool:
        """True when nothing that was begun is still to be ended."""
        return not self.later and self.ordered is None

    def look(self) -> None:
        """Writes down when a sensor last ticked, and the sensors' cursors, to be put back later."""
        for state in self.live.instance.all_instigator_state():
            data = state.instigator_data
            if data is None:
                continue
            self.last_tick = max(self.last_tick, data.last_tick_start_timestamp or 0)
            known = self.cursors[state.name]
            if data.cursor and (not known or known[-1] != data.cursor):
                known.append(data.cursor)

    def _note(self, what: str) -> None:
        """Writes down what was done when, for whoever looks into a violation."""
        with (self.live.home / "faults.log").open("a") as log:
            log.write(f"{datetime.now(UTC):%H:%M:%S.%f} {what}\n")

    # --- kills -------------------------------------------------------------------------------

    def _kill_runs(self, now: float) -> None:
        running = self.live.run_processes()
        self.doomed = {pid: self.doomed[pid] for pid in running if pid in self.doomed}
        for pid in running:
            if pid not in self.doomed:
                dies = self.rng.random() < DOOMED
                self.doomed[pid] = now + self.rng.uniform(0, LIFE) if dies else None
            due = self.doomed[pid]
            if due is not None and now >= due:
                self.doomed[pid] = None
                if kill(pid):
                    self.kills["downstream run"] += 1
                    self._note(f"killed a downstream run, process {pid}")

    def _kill(self, service: Service, name: str) -> None:
        if service.process is not None and service.process.poll() is None:
            service.kill()
            self.kills[name] += 1
            self._note(f"killed {name}")

    def _follow_order(self, now: float, calm: bool) -> None:
        """Counts an order to die that was carried out; takes back one that will not be."""
        if self.ordered is None:
            return
        fault, since = self.ordered
        order = self.live.home / ORDER
        if calm or now - since > ORDER_STANDS:
            order.unlink(missing_ok=True)
        if order.exists():
            return
        carried_out = (self.live.home / CARRIED_OUT).read_text().splitlines()
        if len(carried_out) > self.carried_out:
            self.carried_out = len(carried_out)
            self.kills[f"daemon at {carried_out[-1]}"] += 1
            self._note(f"the daemon died at {carried_out[-1]}")
            self.stopped = (fault, time.time())
        else:
            self.faults["crash point not reached"] += 1
        self.ordered = None

    # --- faults ------------------------------------------------------------------------------

    def _carry_out(self, fault: Fault, now: float) -> None:
        self.due = now + fault.rest
        self._note(" ".join(filter(None, (fault.kind, fault.detail, fault.sensor))))
        if fault.kind in STOPS_TICKS and fault.kind != "crash point":
            self.stopped = (fault, time.time() + fault.lasts)
        match fault.kind:
            case "daemon":
                self._kill(self.live.daemon, "daemon at random")
            case "code server":
                self._kill(self.live.code_server, "code server")
            case "crash point":
                self.ordered = (fault, now)
                (self.live.home / CARRIED_OUT).touch()
                (self.live.home / ORDER).write_text(fault.detail)
            case "cursor":
                self._break_cursor(fault)
            case "daemon stopped":
                self._stop_daemon(fault, now)
            case "second daemon":
                self._run_second_daemon(fault, now)
            case "database":
                self._restart_database()

    def _stop_daemon(self, fault: Fault, now: float) -> None:
        daemon = self.live.daemon
        daemon.wanted = False
        daemon.kill(SIGTERM)
        self.faults["daemon stopped"] += 1

        def resume() -> None:
            daemon.wanted = True

        self.later.append((now + fault.lasts, resume))

    def _run_second_daemon(self, fault: Fault, now: float) -> None:
        second = self.live.second_daemon
        if second.wanted:
            return
        second.wanted = True
        self.faults["second daemon"] += 1

        def stop() -> None:
            self._kill(second, "second daemon")
            second.end()

        self.later.append((now + fault.lasts, stop))

    def _restart_database(self) -> None:
        assert self.postgres is not None
        self.postgres.stop(SIGQUIT)
        self.postgres.start()
        self.faults["database restarted"] += 1

    def _break_cursor(self, fault: Fault) -> None:
        for state in self.live.instance.all_instigator_state():
            if state.name == fault.sensor and state.instigator_data is not None:
                known = self.cursors[fault.sensor]
                cursor = broken(fault, state.instigator_data.cursor, known)
                data = state.instigator_data._replace(cursor=cursor)
                self.live.instance.update_instigator_state(state.with_data(data))
                self.faults[f"cursor {fault.detail}"] += 1


def broken(fault: Fault, cursor: str | None, known: Sequence[str]) -> str | None:
    """Returns what a fault puts in a cursor's place.

    Args:
        fault: How it is broken.
        cursor: The cursor.
        known: Those before it, oldest first.
    """
    match fault.detail:
        case "empty":
            return ""
        case "old":
            return known[0] if known else None
        case "garbage":
            return "\x00garbage {]"
        case "truncated":
            return (cursor or "")[: len(cursor or "") // 2]
        case "foreign":
            return (cursor or "").replace(fault.sensor, f"not_{fault.sensor}")
        case "other shape":
            return json.dumps({"version": 2, "owner": None, "keys": [[]]})
    return None
