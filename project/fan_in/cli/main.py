"""The group of commands, and what they share."""

import warnings

import click

from ..replay.command import replay
from .errors import exit_codes
from .explain import explain
from .export import export
from .location import App
from .status import status

EPILOG = f"""\b
Exit codes:
{exit_codes()}"""


@click.group("fan-in", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-m", "--module-name", metavar="MODULE", help="The module with your definitions.")
@click.option("-f", "--python-file", metavar="FILE", help="The file with your definitions.")
@click.option(
    "--location", metavar="NAME", help="What the instance calls the code location, if not so."
)
@click.option(
    "--instance", "home", metavar="PATH", help="The instance's folder; by default DAGSTER_HOME."
)
@click.pass_context
def main(
    context: click.Context,
    module_name: str | None,
    python_file: str | None,
    location: str | None,
    home: str | None,
) -> None:
    """Asks a Dagster instance about its fan-ins: what they wait for, what made a run, and what
    another rule would have done. Reads only.

    The code location is by default the one that pyproject.toml names in this folder.
    """
    if module_name is not None and python_file is not None:
        raise click.UsageError("give -m or -f, not both")
    # Of the user's own definitions and of Dagster, told when those are loaded elsewhere too.
    warnings.simplefilter("ignore")
    context.obj = App(module_name, python_file, location, home)


main.add_command(status)
main.add_command(explain)
main.add_command(replay)
main.add_command(export)
