"""The errors of the command: each kind is one line and has its own exit code."""

from typing import Any

import click

from .. import errors

FOUND = 1
"""The exit code of a command that looks for something and finds it, for scripts."""


class CommandError(click.ClickException):
    """Raised for bad input; the message names the problem and the fix, in one line."""

    exit_code = 2
    what = ""


class NoInstance(CommandError):
    exit_code = 3
    what = "there is no Dagster instance"


class NoCodeLocation(CommandError):
    exit_code = 4
    what = "the code location cannot be loaded"


class UnknownDownstream(CommandError):
    exit_code = 5
    what = "no fan-in of the code location has that downstream"


class NoHistory(CommandError):
    exit_code = 6
    what = "nothing happened in the period"


class DamagedFile(CommandError):
    exit_code = 7
    what = "the exported file is damaged, or there is none"


class NaiveTime(CommandError):
    exit_code = 8
    what = "a time has no zone"


class OtherCopy(Exception):
    """Raised when the definitions use another copy of this library: its own command answers.

    Args:
        package: The copy.
    """

    def __init__(self, package: str) -> None:
        self.package = package


KINDS = (NoInstance, NoCodeLocation, UnknownDownstream, NoHistory, DamagedFile, NaiveTime)


def exit_codes() -> str:
    """Returns the exit codes, one a line, for a command's help."""
    codes = [
        (0, "fine"),
        (FOUND, "check, status or replay found something"),
        (2, "wrong usage"),
        *((kind.exit_code, kind.what) for kind in KINDS),
    ]
    return "\n".join(f"  {code}  {what}" for code, what in codes)


class HistoryCommand(click.Command):
    """A command over a history: an error of the library ends it with one line and a code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.FanInError as error:
            known = {errors.NoHistory: NoHistory, errors.DamagedFile: DamagedFile}
            kind = known.get(type(error))
            raise (kind(str(error)) if kind else click.UsageError(str(error), ctx)) from error
