"""``fan-in check``: what is wrong with the definitions, without an instance."""

from collections.abc import Sequence

import click

from ..location_checks import Finding, check_location
from .errors import NoCodeLocation
from .location import App, pass_app
from .output import plain

FOUND = 1
"""The exit code when something is wrong."""


@click.command()
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@pass_app
@click.pass_context
def check(context: click.Context, app: App, strict: bool) -> None:
    """Shows what is wrong with the fan-ins of the code location, one line each, with the fix. It
    needs no instance, so CI can run it.

    An error is a fan-in that can never work: it waits for a job or an asset that no one defines, or
    no sensor evaluates its condition. A warning may be right. Exits with 1 if there is an error.
    """
    findings = _findings(app)
    for finding in findings:
        click.echo(plain(str(finding)))
    if any(finding.is_error or strict for finding in findings):
        context.exit(FOUND)
    if not findings:
        count = len(app.fan_ins) or app.fan_in(None)  # Says that there is none.
        click.echo(f"{app.project.target_name}: {count} fan-ins, nothing wrong")


def _findings(app: App) -> Sequence[Finding]:
    """Returns what is wrong, also if the definitions say so themselves and do not load."""
    try:
        return check_location(app.repository)
    except NoCodeLocation as error:
        cause: BaseException | None = error
        while cause is not None:
            # By its attribute, since a copy of this library raises its own kind.
            findings: Sequence[Finding] = getattr(cause, "findings", ())
            if findings:
                return findings
            cause = cause.__cause__ or cause.__context__
        raise
