"""The group of commands, and what they share."""

import warnings
from importlib import import_module
from typing import Any

import click
import dagster as dg
from dagster_shared.cli import WorkspaceOpts

from ..version import __version__
from .check import check
from .errors import NoCodeLocation, OtherCopy, exit_codes
from .explain import explain
from .export import export
from .location import App, where_options
from .project import location_options
from .replay import replay
from .status import status

EPILOG = f"""\b
Exit codes:
{exit_codes()}

Completion in bash: eval "$(_FAN_IN_COMPLETE=bash_source fan-in)"; or zsh_source, fish_source."""


class Group(click.Group):
    """Hands over to the command of the copy of this library that the definitions use."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OtherCopy as copy:
            try:
                command = import_module(f"{copy.package}.cli.main").main
            except ImportError as error:
                raise NoCodeLocation(
                    f"the definitions use {copy.package}, a copy of this library without its"
                    f" command: copy the folder cli, too ({error})"
                ) from error
            if (version := _version_of(copy.package)) != __version__:
                click.echo(
                    f"The definitions use {copy.package} {version}, a copy of this library, which"
                    f" is {__version__}; its own command answers.",
                    err=True,
                )
            code = command.main(
                ctx.meta["arguments"], prog_name=ctx.info_name, standalone_mode=False
            )
            ctx.exit(code or 0)


def _version_of(package: str) -> str:
    try:
        return str(import_module(f"{package}.version").__version__)
    except ImportError:
        return "of an unknown version"


@click.group(
    "fan-in", cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@location_options
@where_options
@click.version_option(f"{__version__} (dagster {dg.__version__})", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, /, location: str | None, home: str | None, **options: Any) -> None:
    """Shows the fan-ins of a Dagster instance: what they wait for, what made a run, and what
    another rule would have done. It only reads.

    The code location is that of the project of this folder, as dg and dagster find it, or the one
    that the options name. The options are Dagster's own.
    """
    # Warnings of the user's definitions and of Dagster, which are shown elsewhere, too.
    warnings.simplefilter("ignore")
    context.obj = App(WorkspaceOpts.extract_from_cli_options(options), location, home)


for command in (check, status, explain, replay, export):
    main.add_command(command)
