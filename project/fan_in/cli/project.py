"""Finds the code location as ``dagster`` and ``dg`` do, by their own code where it is importable.

Three rules are written here, since no package that Dagster brings has them: the search upward from
a sub-folder, the name of a dg project (``code_location_name``, or else its folder's), and its
``src/`` on the path.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import dagster as dg

# Private: the options, the targets and the loading of Dagster's own commands.
from dagster._cli.workspace.cli_target import workspace_opts_to_load_target
from dagster._core.definitions.reconstruct import repository_def_from_target_def
from dagster._core.workspace.load_target import WorkspaceFileTarget, get_target_from_toml_data
from dagster._grpc.utils import get_loadable_targets
from dagster_shared.cli import (
    WorkspaceOpts,
    apply_click_params,
    generate_python_pointer_options,
)
from dagster_shared.utils.config import load_toml_as_dict, locate_dg_config_in_folder

from ..inspect.status import first_line
from .errors import NoCodeLocation

TARGET = (
    *("module_name", "python_file", "package_name", "autoload_defs_module_name"),
    *("working_directory", "attribute"),
)
"""What Dagster's own loading asks for."""

HOW = (
    "give -m MODULE, -f FILE or -w WORKSPACE, or run this in a project: where pyproject.toml or"
    " dg.toml has a project, pyproject.toml has [tool.dagster] module_name, or workspace.yaml is"
)


def location_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds Dagster's own options that name a code location, with their environment variables."""
    workspace = click.option(
        *("-w", "--workspace"),
        multiple=True,
        type=click.Path(exists=True),
        help="Specify a workspace file.",
    )
    pointers = generate_python_pointer_options(allow_multiple=True, hide_legacy_options=False)
    return apply_click_params(command, workspace, *pointers)


@dataclass(frozen=True)
class Project:
    """One code location, found and not loaded.

    Args:
        name: The instance's name for it.
        folder: The folder from which Dagster loads it.
        target: Where its definitions are: the arguments of Dagster's own loading.
    """

    name: str
    folder: Path
    target: Mapping[str, str | None]

    @property
    def target_name(self) -> str:
        """The module, package or file."""
        return next(name for key in TARGET if (name := self.target[key]))

    def load(self) -> dg.RepositoryDefinition:
        """Returns its definitions.

        Raises:
            NoCodeLocation: They cannot be loaded, or there are none.
        """
        file = self.target["python_file"]
        if file is not None and not Path(file).is_file():
            raise NoCodeLocation(f"-f {file} is no file: name the one with your definitions")
        for folder in (self.folder, self.folder / "src"):
            if folder.is_dir() and str(folder) not in sys.path:
                sys.path.insert(
                    1, str(folder)
                )  # Dagster drops the first one, the script's, when it loads.
        try:
            found = get_loadable_targets(**self.target, resolve_lazy_defs=True)
            repository = repository_def_from_target_def(found[0].target_definition)
        except Exception as error:
            cause = first_line(error)
            in_yaml = ": dg check yaml names file and line" * cause.startswith("ValidationError")
            raise NoCodeLocation(
                f"{self.target_name} cannot be loaded: {cause}{in_yaml}: correct it, or name"
                " another with -m MODULE or -f FILE"
            ) from error
        if repository is None:
            raise NoCodeLocation(
                f"{self.target_name} holds no definitions: name another with -m or -f"
            )
        return repository


def find_project(options: WorkspaceOpts, location: str | None) -> Project:
    """Returns the code location that options name, or the nearest project's, upward from here.

    Args:
        options: Dagster's own options.
        location: Which one, if there are several; the instance's name for it, if there is one.

    Raises:
        NoCodeLocation: There is none, or there are several.
    """
    here = Path.cwd()
    try:
        if options.specifies_target():
            origins = workspace_opts_to_load_target(options).create_origins()
            found = [_of_origin(origin, here) for origin in origins]
        else:
            found = list(next(filter(None, map(_found_in, (here, *here.parents))), []))
    except click.ClickException:
        raise
    except Exception as error:  # Dagster could not read a file, TOML or YAML.
        name = getattr(error, "filename", None) or "the project's configuration"
        raise NoCodeLocation(f"{name} cannot be read: {first_line(error)}: correct it") from error
    if not found:
        raise NoCodeLocation(f"no code location: {HOW}")
    if len(found) == 1:
        return replace(found[0], name=location or found[0].name)
    for project in found:
        if project.name == location:
            return project
    names = ", ".join(project.name for project in found)
    raise NoCodeLocation(f"there are several code locations: give --location, one of {names}")


def _found_in(folder: Path) -> Sequence[Project]:
    """Returns the code locations of a folder, none if it is no project.

    Raises:
        NoCodeLocation: It is a workspace.
    """
    config = locate_dg_config_in_folder(folder)
    if config is not None:
        toml = load_toml_as_dict(config)
        settings = toml if config.name == "dg.toml" else toml["tool"]["dg"]
        if project := settings.get("project"):
            name = project.get("code_location_name") or folder.name
            return _of_toml({"dg": settings}, folder, name)
        if settings.get("directory_type") == "workspace":
            projects = settings.get("workspace", {}).get("projects", [])
            paths = ", ".join(str(project.get("path")) for project in projects)
            raise NoCodeLocation(
                f"{folder} is a workspace of several projects: run this in one of {paths}"
            )
    pyproject = folder / "pyproject.toml"
    if pyproject.exists():
        block = load_toml_as_dict(pyproject).get("tool", {}).get("dagster", {})
        if found := _of_toml({"dagster": block}, folder):
            return found
    for workspace in (folder / "workspace.yaml", folder / "workspace.yml"):
        if workspace.exists():
            origins = WorkspaceFileTarget([str(workspace)]).create_origins()
            return [_of_origin(origin, folder) for origin in origins]
    return []


def _of_toml(tool: Any, folder: Path, name: str | None = None) -> Sequence[Project]:
    """Returns the code locations in a table of pyproject.toml, as Dagster reads it and loads them
    from its folder."""
    target: Any = get_target_from_toml_data({"tool": tool})
    targets = target if isinstance(target, list) else [target] if target else []
    found = [_of_origin(origin, folder) for one in targets for origin in one.create_origins()]
    here = {"working_directory": str(folder)}
    return [replace(p, name=name or p.name, target={**p.target, **here}) for p in found]


def _of_origin(origin: Any, folder: Path) -> Project:
    target = getattr(origin, "loadable_target_origin", None)
    if target is None:
        raise NoCodeLocation(
            f"{origin.location_name} is served by another process: give -m MODULE or -f FILE"
        )
    arguments = {name: getattr(target, name) for name in TARGET}
    return Project(name=origin.location_name, folder=folder, target=arguments)
