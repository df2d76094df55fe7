"""Asks a world as the command does, in this process."""

from typing import Any

import click
from click.testing import CliRunner, Result

from project.fan_in.cli.location import App
from project.fan_in.cli.main import main
from tests.support.drivers import World
from tests.support.pinned import HERE


def app_of(world: World, location: str = HERE) -> App:
    """Returns what the command would load from a folder and a module."""
    app = App(location=location)
    loaded: dict[str, Any] = {
        "instance": world.instance,
        "repository": world.definitions.get_repository_def(),
    }
    app.__dict__.update(loaded)
    return app


def ask(world: World, command: click.Command, *arguments: str, location: str = HERE) -> Result:
    """Runs a command over a world's instance and definitions, at its pinned time."""
    app = app_of(world, location)
    with world.pinned():
        return CliRunner().invoke(command, list(arguments), obj=app)


def run(*arguments) -> tuple[int, str, str]:
    """Runs the command as a shell does; returns its exit code, its answer and its errors."""
    result = CliRunner().invoke(main, list(map(str, arguments)), env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
