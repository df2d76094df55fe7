"""The workspace of one code location, as a daemon's process sees it."""

from typing import Any

# Private: a workspace in memory has no public maker.
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.code_location import InProcessCodeLocation
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._core.workspace.workspace import (
    CodeLocationEntry,
    CodeLocationLoadStatus,
    CurrentWorkspace,
    DefinitionsSource,
)

from tests.graphs import location
from tests.support.pinned import HERE, REPOSITORY


class Location(InProcessCodeLocation):
    """The code location. The world evaluates its sensor: the location could not load an instance in
    memory from a reference."""

    def __init__(self, origin: InProcessCodeLocationOrigin, world: Any) -> None:
        super().__init__(origin, world.instance)
        self.world = world

    def get_sensor_execution_data(self, *_: Any) -> SensorExecutionData:
        return self.world.answer()


class Process:
    """A daemon's process: what a workspace process context is to the daemons.

    Args:
        world: Evaluates the sensor.
    """

    def __init__(self, world: Any) -> None:
        self.instance = world.instance
        target = LoadableTargetOrigin(module_name=location.__name__, attribute="definitions")
        origin = InProcessCodeLocationOrigin(target, location_name=HERE)
        self.location = Location(origin, world)
        self.entry = CodeLocationEntry(
            origin=origin,
            code_location=self.location,
            load_error=None,
            load_status=CodeLocationLoadStatus.LOADED,
            display_metadata={},
            update_timestamp=0.0,
            version_key="1",
            definitions_source=DefinitionsSource.CODE_SERVER,
        )
        self.repository = self.location.get_repositories()[REPOSITORY]

    def create_request_context(self, source: object = None) -> WorkspaceRequestContext:
        workspace = CurrentWorkspace(code_location_entries={HERE: self.entry})
        return WorkspaceRequestContext(self.instance, workspace, self, None, source, False)
