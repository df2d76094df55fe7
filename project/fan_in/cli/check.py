"""``fan-in check``: what is wrong with the definitions, without an instance."""

from collections.abc import Sequence

import click

from ..location_checks import Finding, check_location
from ..messages import some
from .errors import FOUND, NoCodeLocation
from .location import App, pass_app
from .output import Page, plain


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
    lines = list(map(str, findings))
    if not findings:
        names = some([f"{fan_in.name} ({fan_in.kind})" for fan_in in app.fan_ins.values()], ", ")
        count = "1 fan-in" if len(app.fan_ins) == 1 else f"{len(app.fan_ins)} fan-ins"
        lines = [f"{app.project.target_name}: {count}, nothing wrong: {names}"]
    page = Page()
    for line in lines:
        if page.height is not None:
            page.line(line, hanging=2)
        else:  # For programs, each finding is one line.
            click.echo(plain(line))
    if any(finding.is_error or strict for finding in findings):
        context.exit(FOUND)


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
