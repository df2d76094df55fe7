"""A project of the pages, deployed: what its sensors request becomes runs, which a test ends."""

from typing import Any

import dagster as dg

from tests.support.drivers import DeclarativeWorld, JobPathWorld, World

Runs = list[set[str]]
"""The assets of each run."""


class SeveralSensors(World):
    """A world with more sensors than one, each with its cursor."""

    def __init__(self, definitions: dg.Definitions, sensor: str) -> None:
        self.sensor_name = sensor
        self.cursors: dict[str, str | None] = {}
        super().__init__(definitions)

    def turn_to(self, sensor: str | None) -> None:
        """Makes a sensor the one that ticks."""
        if sensor is not None:
            self.cursors[self.sensor_name] = self.cursor
            self.sensor_name, self.cursor = sensor, self.cursors.get(sensor)


class Deployed(SeveralSensors, DeclarativeWorld):
    """Assets, and an automation sensor that may request any of them, some in one run."""

    def __init__(
        self, definitions: dg.Definitions, sensor: str = "fan_in_automation_sensor"
    ) -> None:
        self.asked: dict[str, set[str]] = {}
        """The assets of each run that was requested."""
        super().__init__(definitions, sensor)

    def materialize(self, *names: str, key: str | None = None) -> None:
        """Materializes these assets by one run, in no time."""
        self.end(self.begin(*names, key=key), *names)

    def begin(self, *names: str, key: str | None = None) -> str:
        """Starts a run by hand of these assets, which goes on."""
        with self.pinned():
            return self._create_run(self._job({*names}), tags=self._tags(key))

    def end(self, run_id: str, *names: str) -> None:
        """Ends a run that has materialized these assets."""
        self.finish(run_id, *names)

    def requests(self, sensor: str | None = None) -> Runs:
        """Ticks a sensor, a minute later; returns the assets of each run that it requests, which
        goes on."""
        self.turn_to(sensor)
        before = len(self.requested)
        self.wait(minutes=1).tick()
        return [self.asked[run_id] for run_id in self.requested[before:]]

    def builds(self) -> Runs:
        """Ticks, and ends what is requested, in no time."""
        before = len(self.requested)
        found = self.requests()
        for run_id, names in zip(self.requested[before:], found, strict=True):
            self.end(run_id, *sorted(names))
        return found

    def end_newest(self) -> None:
        """Ends the run that was requested last."""
        self.end(self.requested[-1], *sorted(self.asked[self.requested[-1]]))

    def _job(self, names: set[str]) -> dg.JobDefinition:
        keys = {dg.AssetKey(name) for name in names}
        return self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=keys
        )

    def _create_requested_run(
        self, request: dg.RunRequest, tags: dict[str, str], run_id: str
    ) -> str | None:
        names = {key.to_user_string() for key in request.asset_selection or ()}
        self._create_run(self._job(names), tags={**tags, **request.tags}, run_id=run_id)
        self.requested.append(run_id)
        self.asked[run_id] = names
        return run_id


class Jobs(SeveralSensors, JobPathWorld):
    """Jobs, and a sensor that requests one of them."""

    def __init__(self, definitions: dg.Definitions, sensor: str, downstream: str) -> None:
        self.downstream = downstream
        super().__init__(definitions, sensor)

    def downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_job_def(self.downstream)

    def succeed(self, job: str, location: str | None = None) -> None:
        """Runs a job in no time."""
        with self.pinned():
            found = self.definitions.resolve_job_def(job)
            run_id = self._create_run(found, location=location)
            self._end_run(run_id, (), success=True)

    def requests(self, sensor: str | None = None) -> int:
        """Ticks a sensor, a minute later, and ends what it requests; returns how much that was."""
        self.turn_to(sensor)
        requested = self.wait(minutes=1).tick()
        while self.unfinished:
            self.wait(seconds=1).end_downstream()
        return requested


def job(name: str) -> dg.JobDefinition:
    """Returns a job that does nothing."""

    @dg.op(name=f"{name}_op")
    def nothing() -> None: ...

    @dg.job(name=name)
    def made() -> None:
        nothing()

    return made


def asset(name: str, *deps: str, **arguments: Any) -> dg.AssetsDefinition:
    """Returns an asset that does nothing."""

    @dg.asset(name=name, deps=deps, **arguments)
    def made() -> None: ...

    return made
