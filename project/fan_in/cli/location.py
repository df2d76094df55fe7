"""The code location and the instance that a command asks, loaded without launching anything."""

import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import dagster as dg

# Private: Dagster's own commands find the definitions of a module or a file so, and nothing
# public does.
from dagster._core.definitions.reconstruct import repository_def_from_target_def
from dagster._core.workspace.autodiscovery import (
    loadable_targets_from_python_file,
    loadable_targets_from_python_module,
)

from ..inspect.fan_ins import FanInSpec, fan_ins_of
from .errors import NoCodeLocation, NoInstance, UnknownDownstream

PYPROJECT = "pyproject.toml"


@dataclass(frozen=True)
class App:
    """What the options before the command name; each part is loaded when it is first asked for.

    Args:
        module: The module with the definitions.
        python_file: The file with the definitions, instead of a module.
        location: The name of the code location on the instance; by default the one that
            pyproject.toml gives, or Dagster's own default.
        home: The instance's folder; by default DAGSTER_HOME.
    """

    module: str | None = None
    python_file: str | None = None
    location: str | None = None
    home: str | None = None

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """The instance.

        Raises:
            NoInstance: No folder is named, or it holds no instance: one must not be made here.
        """
        named = self.home or os.environ.get("DAGSTER_HOME")
        if not named:
            raise NoInstance("no Dagster instance: set DAGSTER_HOME, or give --instance PATH")
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            raise NoInstance(f"{folder} is no folder: name that of an instance, as DAGSTER_HOME is")
        if not (folder / "dagster.yaml").exists() and not (folder / "history").exists():
            raise NoInstance(
                f"{folder} holds no Dagster instance (neither dagster.yaml nor history): name the"
                " folder that DAGSTER_HOME is where Dagster runs"
            )
        try:
            return dg.DagsterInstance.from_config(str(folder))
        except Exception as error:
            raise NoInstance(
                f"the instance in {folder} cannot be opened: {first_line(error)}: correct its"
                " dagster.yaml"
            ) from error

    @cached_property
    def repository(self) -> dg.RepositoryDefinition:
        """The definitions of the code location.

        Raises:
            NoCodeLocation: None is named or found, or it cannot be imported.
        """
        target, _ = self._target
        load: Callable[..., Any] = loadable_targets_from_python_module
        if self.python_file is not None:
            load = loadable_targets_from_python_file
            if not Path(target).is_file():
                raise NoCodeLocation(f"-f {target} is no file: name the one with your definitions")
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            found = load(target, working_directory=here)
            repository = repository_def_from_target_def(found[0].target_definition)
        except Exception as error:
            raise NoCodeLocation(
                f"{target} cannot be loaded: {first_line(error)}: correct it, or name another"
                " with -m MODULE or -f FILE"
            ) from error
        if repository is None:
            raise NoCodeLocation(f"{target} holds no definitions: name another with -m or -f")
        return repository

    @property
    def location_name(self) -> str:
        """The name under which the instance knows the code location's runs."""
        target, configured = self._target
        return self.location or configured or target

    @cached_property
    def fan_ins(self) -> Mapping[str, FanInSpec]:
        """The fan-ins of the code location, by name: a sensor's, or an asset's key."""
        return {fan_in.name: fan_in for fan_in in fan_ins_of(self.repository, self.location_name)}

    def fan_in(self, name: str | None) -> FanInSpec:
        """Returns the fan-in of a downstream: of a job or an asset, or by the sensor's name; the
        only one if no name is given.

        Raises:
            UnknownDownstream: There is none, or more than one.
        """
        if not self.fan_ins:
            raise UnknownDownstream(
                f"{self._target[0]} has no fan-in: no sensor by fan_in_sensor, and no asset with"
                " all_upstreams_updated or the like"
            )
        if name is None and len(self.fan_ins) == 1:
            return next(iter(self.fan_ins.values()))
        known = ", ".join(
            f"{fan_in.downstream} ({fan_in.kind})" for fan_in in self.fan_ins.values()
        )
        if name is None:
            raise UnknownDownstream(f"name one of the downstreams: {known}")
        if name in self.fan_ins:
            return self.fan_ins[name]
        found = [fan_in for fan_in in self.fan_ins.values() if fan_in.downstream == name]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(fan_in.name for fan_in in found)
            raise UnknownDownstream(f"{name} is the downstream of several: name one of {names}")
        raise UnknownDownstream(f"{name!r} is no downstream of a fan-in here: known are {known}")

    @cached_property
    def _target(self) -> tuple[str, str | None]:
        """The module or file, and the location's name as pyproject.toml gives it."""
        if self.python_file is not None:
            return self.python_file, None
        if self.module is not None:
            return self.module, None
        try:
            tool = tomllib.loads(Path(PYPROJECT).read_text("utf-8")).get("tool", {})
        except OSError:
            tool = {}
        except tomllib.TOMLDecodeError as error:
            raise NoCodeLocation(f"{PYPROJECT} cannot be read: {error}: correct it") from error
        project = tool.get("dg", {}).get("project", {})
        if root := project.get("root_module"):
            name = project.get("code_location_name") or root
            return project.get("code_location_target_module", f"{root}.definitions"), name
        dagster = tool.get("dagster", {})
        if module := dagster.get("module_name"):
            return module, dagster.get("code_location_name")
        raise NoCodeLocation(
            "no code location: give -m MODULE or -f FILE, or run this where pyproject.toml has"
            " [tool.dg.project] root_module or [tool.dagster] module_name"
        )


pass_app = click.make_pass_decorator(App)


def first_line(error: BaseException) -> str:
    """Returns an error as one short line, of the innermost cause: that is the user's own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]
