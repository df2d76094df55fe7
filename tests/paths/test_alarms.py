"""The alarm of a deadline: a check that fails once a wait, and passes when its batch is made."""

import re
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from project.fan_in import (
    FanInError,
    all_upstreams_updated,
    at_least,
    caches,
    fan_in_sensor,
    with_fan_in,
)
from project.fan_in.location_checks import check_location
from project.paths import ROOT
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    d_job,
    downstream_job,
    upstream_asset,
    upstream_job,
    upstreams,
)
from tests.support.mechanisms import of_production
from tests.support.player import DEV

INSTALLED_AS = "dagster_fan_in"
HOUR = timedelta(hours=1)
KEYS = ("x", "y", "z")
CHECKS = {"declarative": ("d", "fan_in_deadline"), "job": ("d", "sensor_deadline")}


def declarative(keys: tuple[str, ...] = (), **terms: Any) -> dg.Definitions:
    partitions = dg.StaticPartitionsDefinition(list(keys)) if keys else None

    @dg.asset(
        deps=["a", "b"],
        automation_condition=all_upstreams_updated(wait_while_running=False, **terms),
        partitions_def=partitions,
    )
    def d() -> None: ...

    own = dg.Definitions(assets=[d])
    # One of its own, so that keys that fire at one tick are runs, as these worlds have them.
    sensor = dg.AutomationConditionSensorDefinition(
        "sensor", target=[d], use_user_code_server=True, emit_backfills=False
    )
    both = dg.Definitions.merge(upstreams("AB", keys=keys), own, dg.Definitions(sensors=[sensor]))
    return with_fan_in(both)


def by_job(keys: tuple[str, ...] = (), **terms: Any) -> dg.Definitions:
    @dg.asset
    def d() -> None: ...

    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job("A"), upstream_job("B")],
        job=downstream_job(keys),
        correlate_by="dagster/partition" if keys else None,
        wait_while_running=False,
        alarm_on="d",
        **terms,
    )
    own = dg.Definitions(assets=[d], sensors=[sensor])
    return with_fan_in(dg.Definitions.merge(upstreams("AB", keys=keys), own))


class Alarmed:
    """A world with the companion sensor, which is ticked by itself."""

    def __init__(self, path: str, keys: tuple[str, ...] = (), **terms: Any) -> None:
        make, world = {
            "declarative": (declarative, DeclarativeWorld),
            "job": (by_job, JobPathWorld),
        }[path]
        self.world: World = world(make(keys, **{"deadline": 2 * HOUR, **terms}))
        self.key = dg.AssetCheckKey(dg.AssetKey(CHECKS[path][0]), CHECKS[path][1])
        self.cursor: str | None = None
        self.reason: str | None = None
        self.told = 0

    def __enter__(self) -> "Alarmed":
        self.world.tick()
        return self

    def __exit__(self, *exc: object) -> None:
        self.world.__exit__(*exc)

    def complete(self, hour: float, *letters: str, key: str | None = None) -> None:
        for letter in letters:
            self.world.at(hour).run(letter, key=key)

    def tick(self, hour: float) -> int:
        return self.world.at(hour).tick()

    def watch(self, hour: float) -> dg.AssetCheckEvaluation | None:
        """Ticks the companion as the daemon does; returns the evaluation that it made, if any."""
        world = self.world.at(hour)
        name, own = world.sensor_name, world.cursor
        world.sensor_name, world.cursor = "fan_in_alarm_sensor", self.cursor
        try:
            answer = world.evaluate()
        finally:
            world.sensor_name, world.cursor = name, own
        self.cursor, self.reason = answer.cursor, answer.skip_message
        with world.pinned():
            for event in answer.asset_events:
                world.instance.report_runless_asset_event(event)
        self.told += len(answer.asset_events)
        assert len(answer.asset_events) <= 1
        return answer.asset_events[0] if answer.asset_events else None

    def last(self) -> bool | None:
        """Whether the check's last evaluation passed, as the instance has it."""
        storage = self.world.instance.event_log_storage
        records = storage.get_asset_check_execution_history(self.key, limit=20)
        told = [r.evaluation for r in records if isinstance(r.evaluation, dg.AssetCheckEvaluation)]
        return told[0].passed if told else None


@pytest.fixture(params=["declarative", "job"])
def path(request: pytest.FixtureRequest) -> str:
    return request.param


def test_an_upstream_that_stays_away_fails_the_check_once_and_a_whole_batch_passes_it(path):
    """At exactly the deadline, with the missing upstream and its age; a warning that blocks
    nothing."""
    with Alarmed(path) as alarmed:
        alarmed.complete(1, "A")
        assert alarmed.tick(1.1) == 0
        assert alarmed.watch(2.999) is None
        failed = alarmed.watch(3)
        assert failed is not None
        assert not failed.passed
        assert failed.severity is dg.AssetCheckSeverity.WARN
        assert "1 of 2 upstreams ready; " in str(failed.description)
        assert "past its deadline 0 s ago, waiting for 2 h" in str(failed.description)
        assert f"waiting for b{'_job' * (path == 'job')}: never" in str(failed.description)
        assert {"waiting since", "deadline"} <= failed.metadata.keys()
        assert alarmed.last() is False
        assert alarmed.watch(3.1) is None  # Once a wait.
        alarmed.complete(4, "A")
        assert alarmed.watch(4.1) is None
        alarmed.complete(5, "B")
        assert alarmed.watch(5.001) is None  # Whole, and not requested yet.
        assert alarmed.tick(5.1) == 1
        passed = alarmed.watch(5.2)
        assert passed is not None
        assert passed.passed
        assert alarmed.last() is True
        assert alarmed.watch(30) is None


def test_an_alarm_comes_of_what_counts_and_names_what_did_not(path):
    """What does not count begins no wait; a run that was asked for is called as it ended."""
    ended = {"ended": {"b_job": {"failure"}}} if path == "job" else {}
    with Alarmed(path, counts=of_production, **ended) as alarmed:
        alarmed.world.at(0).run("A", tags=DEV)
        assert alarmed.watch(2) is None
        alarmed.complete(2.5, "A")
        alarmed.world.at(3.5).run("B", success=not ended, materializes=True, tags=DEV)
        assert alarmed.watch(4.4) is None
        failed = alarmed.watch(4.5)
        assert failed is not None
        did = "b_job: failed" if ended else "b: materialized"
        assert (
            f"waiting for {did} 1 h ago, which does not count: of_production returned False for it"
        ) in str(failed.description)


def test_a_batch_in_time_is_no_alarm(path):
    """Nor one that is complete at the very tick of the deadline."""
    with Alarmed(path) as alarmed:
        alarmed.complete(1, "A", "B")
        assert alarmed.tick(1.1) == 1
        alarmed.complete(2, "A")
        alarmed.complete(4, "B")
        assert alarmed.watch(4) is None
        assert alarmed.tick(4) == 1
        assert alarmed.watch(10) is None
        assert alarmed.told == 0


def test_a_whole_batch_that_nobody_requests_is_an_alarm(path):
    """Its sensor is off, or its daemon is gone: told with the time since when it is complete."""
    with Alarmed(path) as alarmed:
        alarmed.complete(1, "A", "B")
        failed = alarmed.watch(3.5)
        assert failed is not None
        assert "complete since 2026-01-05 01:00:00 UTC, not requested" in str(failed.description)


def test_pace_alone_never_alarms(path):
    """A whole batch that only its pace holds is not late, nor when it has just been let go; half a
    batch is late, held or not."""
    with Alarmed(path, no_sooner_than=6 * HOUR) as alarmed:
        alarmed.complete(1, "A", "B")
        assert alarmed.tick(1.1) == 1
        alarmed.complete(2, "A", "B")
        for hour in (4.5, 7.099):
            assert alarmed.watch(hour) is None
            assert alarmed.tick(hour) == 0
        assert alarmed.watch(7.101) is None
        assert alarmed.tick(7.11) == 1
        assert alarmed.watch(8) is None
        alarmed.complete(9, "A")
        assert alarmed.watch(11) is not None


def test_a_batch_that_its_pace_has_let_go_and_that_nobody_requests_is_an_alarm(path):
    """As any whole batch that is not requested."""
    with Alarmed(path, no_sooner_than=6 * HOUR) as alarmed:
        alarmed.complete(1, "A", "B")
        assert alarmed.tick(1.1) == 1
        alarmed.complete(2, "A", "B")
        assert alarmed.watch(7) is None
        failed = alarmed.watch(8)
        assert failed is not None
        assert "not requested: is the sensor running?" in str(failed.description)


def test_a_half_batch_that_is_let_go_stays_an_alarm_until_a_batch_is_whole(path):
    """And the next wait that is late, of a key with an alarm, is one more."""
    with Alarmed(path) as alarmed:
        alarmed.complete(1, "A")
        assert alarmed.watch(4) is not None
        assert alarmed.watch(26) is None
        assert alarmed.last() is False
        alarmed.complete(30, "B")
        assert alarmed.watch(31) is None
        again = alarmed.watch(32)
        assert again is not None
        assert not again.passed
        alarmed.complete(33, "A")
        assert alarmed.tick(33.1) == 1
        passed = alarmed.watch(33.2)
        assert passed is not None
        assert passed.passed


def test_an_early_request_answers_nothing(path):
    """Who was missing then is missing still."""
    with Alarmed(path, otherwise=at_least(1)) as alarmed:
        alarmed.complete(1, "A")
        assert alarmed.tick(3) == 1
        failed = alarmed.watch(3.1)
        assert failed is not None
        assert not failed.passed
        assert "requested early" in str(failed.description)
        alarmed.complete(4, "B")
        assert alarmed.tick(4.1) == 1
        passed = alarmed.watch(4.2)
        assert passed is not None
        assert passed.passed


def test_with_keys_the_check_changes_when_one_joins_and_when_the_last_has_left(path):
    """It counts them, and names those that wait longest."""
    with Alarmed(path, KEYS) as alarmed:
        alarmed.complete(1, "A", key="x")
        alarmed.complete(1.5, "A", key="y")
        assert "1 past their deadline. x: 1 of 2" in str(alarmed.watch(3.2).description)
        joined = str(alarmed.watch(3.6).description)
        assert joined.startswith("2 past their deadline. x: 1 of 2")
        assert "; y: 1 of 2" in joined
        alarmed.complete(4, "B", key="x")
        assert alarmed.tick(4.1) == 1
        assert alarmed.watch(4.2) is None
        assert alarmed.last() is False
        alarmed.complete(5, "B", key="y")
        assert alarmed.tick(5.1) == 1
        assert alarmed.watch(5.2).passed


def test_a_key_that_was_let_go_is_told_with_what_it_lacked(path):
    """When another key joins it, since it has never been requested."""
    with Alarmed(path, KEYS) as alarmed:
        alarmed.complete(1, "A", key="x")
        assert alarmed.watch(4) is not None
        alarmed.complete(30, "A", key="y")
        told = str(alarmed.watch(32.5).description)
        lacked = f"b{'_job' * (path == 'job')}"
        assert told.startswith(
            "2 past their deadline. x: a batch of 2026-01-05 01:00:00 UTC was let go, not"
            f" requested; missing: {lacked}; y: 1 of 2"
        )


def test_a_lost_cursor_and_a_new_process_tell_nothing_again_and_lose_nothing(path):
    """What was told is read from the check's own evaluations."""
    with Alarmed(path, KEYS) as alarmed:
        alarmed.complete(1, "A", key="x")
        first = alarmed.watch(4)
        alarmed.cursor = None
        caches.clear()
        assert alarmed.watch(4.1) is None
        alarmed.cursor = "not ours"
        alarmed.complete(4.2, "B", key="x")
        assert alarmed.tick(4.3) == 1
        caches.clear()
        passed = alarmed.watch(4.4)
        assert first is not None
        assert passed is not None
        assert passed.passed


def test_two_evaluators_tell_the_same(path):
    """A doubled alarm has the same identity."""

    def identity(evaluation: dg.AssetCheckEvaluation | None) -> Any:
        assert evaluation is not None
        return evaluation.metadata["fan_in/alarms"].value["id"]

    with Alarmed(path) as alarmed:
        alarmed.complete(1, "A")
        before = alarmed.cursor
        first = alarmed.watch(4)
        alarmed.cursor = before or "{}"
        assert identity(alarmed.watch(4.1)) == identity(first)


def test_the_companion_says_how_many_are_late(path):
    """In the reason of its tick, with what it has just told."""
    with Alarmed(path) as alarmed:
        alarmed.watch(1)
        assert alarmed.reason == "0 of 1 fan-ins past their deadline"
        alarmed.complete(1, "A")
        alarmed.watch(4)
        assert str(alarmed.reason).startswith("1 of 1 fan-ins past their deadline | ")


def test_a_deadline_without_anywhere_to_go_is_an_error():
    """Where it can be told at once when the sensor is defined, otherwise when all is wrapped."""
    jobs = [upstream_job("A"), upstream_job("B")]
    with pytest.raises(FanInError, match=r"makes no asset .* alarm_on='my_asset'"):
        fan_in_sensor(name="s", upstream_jobs=jobs, job=d_job, deadline=HOUR)
    with pytest.raises(FanInError, match="alarm_on='d' needs a deadline"):
        fan_in_sensor(name="s", upstream_jobs=jobs, job=d_job, alarm_on="d")
    two = dg.define_asset_job("two", selection=["a", "b"])
    sensor = fan_in_sensor(name="s", upstream_jobs=[upstream_job("C")], job=two, deadline=HOUR)
    assets = [upstream_asset(letter) for letter in "ABC"]
    definitions = dg.Definitions(assets=assets, jobs=[two, upstream_job("C")], sensors=[sensor])
    with pytest.raises(FanInError, match="stands for 'two', which makes a, b: name one"):
        with_fan_in(definitions)


def test_a_deadline_that_nobody_tells_is_a_warning_and_an_asset_that_is_none_an_error():
    """``fan-in check`` says so, and what to do."""
    jobs = [upstream_job("A"), upstream_job("B")]

    def found(**arguments: Any) -> list[str]:
        sensor = fan_in_sensor(name="s", upstream_jobs=jobs, job=d_job, deadline=HOUR, **arguments)
        definitions = dg.Definitions.merge(upstreams("AB"), dg.Definitions(sensors=[sensor]))
        return [str(finding) for finding in check_location(definitions.get_repository_def())]

    assert found(alarm_on="a") == [
        "warning: 's' has a deadline, but no check fails when it passes: wrap the definitions"
        " in with_fan_in"
    ]
    (error,) = found(alarm_on="z")
    assert error.startswith("error: the alarm of 's' is a check on z, which nothing in this")


def test_the_page_on_deadlines_is_executed():
    """In a project with the assets and jobs that it names."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "deadlines.md").read_text(), re.S | re.M
    )
    assets = {name: dg.AssetSpec(name) for name in ("orders", "payments")}

    @dg.asset
    def ledger() -> None: ...

    jobs = {f"{n}_job": dg.define_asset_job(f"{n}_job", selection=["ledger"]) for n in assets}
    ledger_job = dg.define_asset_job("ledger_job", selection=["ledger"])
    names: dict[str, Any] = {**assets, **jobs, "ledger": ledger, "ledger_job": ledger_job}
    block = block.replace(INSTALLED_AS, "project.fan_in")
    exec(compile(block, "deadlines.md", "exec"), names)
    graph = names["defs"].get_repository_def().asset_graph
    assert {(k.asset_key.to_user_string(), k.name) for k in graph.asset_check_keys} == {
        ("revenue", "fan_in_deadline"),
        ("ledger", "orders_and_payments_deadline"),
    }
