"""The code location and the instance of a command, loaded without launching anything."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import click
import dagster as dg

# Private: what Dagster's own commands load the .env with.
from dagster._core.secrets.env_file import get_env_var_dict
from dagster_shared.cli import WorkspaceOpts

from ..errors import FanInError
from ..inspect.fan_ins import FanInSpec, fan_ins_of, other_copies
from ..inspect.status import first_line
from ..messages import those_there_are
from .errors import NoCodeLocation, NoInstance, OtherCopy, UnknownDownstream, in_one_line
from .project import Project, find_project


@dataclass(frozen=True)
class App:
    """What the options name; each part is loaded when it is first needed.

    Args:
        options: Dagster's own options, which name the code location.
        location: Which code location, or the instance's name for it.
        home: The instance's folder; by default DAGSTER_HOME.
    """

    options: WorkspaceOpts = field(default_factory=WorkspaceOpts)
    location: str | None = None
    home: str | None = None

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """The instance.

        Raises:
            NoInstance: No folder is named, or it holds no instance. None is created here.
        """
        with suppress(NoCodeLocation):  # It may name DAGSTER_HOME in its .env.
            _ = self.project
        named = self.home or os.environ.get("DAGSTER_HOME")
        if not named:
            raise NoInstance("no Dagster instance: set DAGSTER_HOME, or give --instance PATH")
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            raise NoInstance(f"{folder} is no folder: name the folder of an instance")
        if not (folder / "dagster.yaml").exists() and not (folder / "history").exists():
            raise NoInstance(
                f"{folder} holds no Dagster instance (neither dagster.yaml nor history): give the"
                " DAGSTER_HOME that Dagster runs with"
            )
        try:
            return dg.DagsterInstance.from_config(str(folder))
        except Exception as error:
            raise NoInstance(
                f"the instance in {folder} cannot be opened: {first_line(error)}: correct its"
                " dagster.yaml"
            ) from error

    @cached_property
    def project(self) -> Project:
        """The code location. Its ``.env`` is loaded into the environment, as Dagster does.

        Raises:
            NoCodeLocation: None is named or found.
        """
        project = find_project(self.options, self.location)
        os.environ.update(get_env_var_dict(str(project.folder)))
        return project

    @cached_property
    def repository(self) -> dg.RepositoryDefinition:
        """The definitions of the code location.

        Raises:
            NoCodeLocation: They cannot be loaded.
        """
        return self.project.load()

    @property
    def location_name(self) -> str:
        """The instance's name for the code location."""
        return self.location or self.project.name

    @cached_property
    def fan_ins(self) -> Mapping[str, FanInSpec]:
        """The fan-ins of the code location, by name: a sensor's, or an asset's key.

        Raises:
            OtherCopy: Another copy of this library made them.
            UnknownDownstream: There is none.
        """
        found = {fan_in.name: fan_in for fan_in in fan_ins_of(self.repository, self.location_name)}
        if not found and (copies := other_copies(self.repository)):
            raise OtherCopy(copies[0])
        if not found:
            raise UnknownDownstream(
                f"{self.project.target_name} has no fan-in: no sensor by fan_in_sensor, and no"
                " asset with all_upstreams_updated or the like"
            )
        return found

    def fan_in(self, name: str | None) -> FanInSpec:
        """Returns the fan-in of a downstream (a job or an asset) or of a sensor's name; without a
        name, the only one.

        Raises:
            UnknownDownstream: There is none, or more than one.
        """
        if name is not None and name in self.fan_ins:
            return self.fan_ins[name]
        named = [one for one in self.fan_ins.values() if name in (None, one.downstream)]
        if len(named) == 1:
            return named[0]
        if name is not None and named:
            several = ", ".join(one.name for one in named)
            raise UnknownDownstream(f"{name} is the downstream of several: name one of {several}")
        names = {f"{one.downstream} ({one.kind})" for one in self.fan_ins.values()}
        known = those_there_are(names, like=name or "")
        if name is None:
            raise UnknownDownstream(f"name one of the downstreams: {known}")
        raise UnknownDownstream(f"{name!r} is no downstream of a fan-in here: name one of {known}")


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that name an instance, and one of several code locations."""
    location = click.option(
        "--location", metavar="NAME", help="Which code location, or the instance's name for it."
    )
    home = click.option(
        *("--instance", "home"),
        metavar="PATH",
        help="The instance's folder; by default DAGSTER_HOME.",
    )
    return location(home(command))


def pass_app(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the ``App``, and the options that may also stand before its name."""

    @where_options
    @click.pass_obj
    @wraps(command)
    def with_app(app: App, /, location: str | None, home: str | None, **given: Any) -> Any:
        if location or home:
            app = replace(app, location=location or app.location, home=home or app.home)
        try:
            return command(app, **given)
        except FanInError as error:
            raise in_one_line(error) from error

    return with_app
