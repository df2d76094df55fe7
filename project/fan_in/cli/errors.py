"""The errors of the command: each kind is one line and has its own exit code."""

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


def in_one_line(error: errors.FanInError) -> click.ClickException:
    """Returns an error of the library as one that ends the command with one line and a code."""
    known = {errors.NoHistory: NoHistory, errors.DamagedFile: DamagedFile}
    if kind := known.get(type(error)):
        return kind(str(error))
    return click.UsageError(str(error), click.get_current_context())
