"""Asks a world as the command does, in this process."""

from typing import Any

import click
from click.testing import CliRunner, Result
from drivers import HERE, World

from project.cli.location import App


def ask(world: World, command: click.Command, *arguments: str, location: str = HERE) -> Result:
    """Runs a command over a world's instance and definitions, at its pinned time."""
    app = App(location=location)
    # What the command would load from a folder and a module.
    loaded: dict[str, Any] = {
        "instance": world.instance,
        "repository": world.definitions.get_repository_def(),
    }
    app.__dict__.update(loaded)
    with world.pinned():
        return CliRunner().invoke(command, list(arguments), obj=app)
