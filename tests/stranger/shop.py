"""What a stranger's projects hold before anything of ours is added, and the lines of our pages."""

import re

from project.paths import ROOT

JOB = """

@dg.op
def {name}_op() -> None: ...


@dg.job
def {name}() -> None:
    {name}_op()
"""

SHOP = """\
import dagster as dg


@dg.asset
def orders() -> None: ...


@dg.asset
def payments() -> None: ...


@dg.asset(deps=[orders, payments, "revenue"])
def report() -> None: ...


orders_job = dg.define_asset_job("orders_job", selection=[orders])
payments_job = dg.define_asset_job("payments_job", selection=[payments])
"""

SHOP += JOB.format(name="revenue_job")
INVOICES = "import dagster as dg\n" + JOB.format(name="invoices_job")
LEDGER = "import dagster as dg\n" + JOB.format(name="ledger_job")
REFUNDS = "import dagster as dg\n" + JOB.format(name="refunds_job")


def blocks(page: str, language: str) -> list[str]:
    """Returns the blocks of a page, with the library's name where it is installed."""
    found = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    return [text.replace("project.fan_in", "dagster_fan_in") for text in found]


def block(page: str, language: str, having: str) -> str:
    """Returns the one block of a page that has a text."""
    (found,) = (one for one in blocks(page, language) if having in one)
    return found


def asset_form() -> str:
    """Returns the README's asset with a condition, without the definitions around it."""
    return block("README.md", "python", "def revenue").partition("\n\n\n# definitions.py")[0] + "\n"


def job_form() -> str:
    """Returns the README's sensor, after an import of what it names."""
    names = "from my_shop.defs.shop import orders_job, payments_job, revenue_job\n"
    return names + block("README.md", "python", 'name="orders_and_payments"')


COMPONENTS = "docs/components.md"


def definitions() -> str:
    """Returns ``definitions.py``, which adds the sensor that evaluates conditions."""
    return block(COMPONENTS, "python", "# definitions.py")


def conditions() -> str:
    """Returns ``defs.yaml``, which sets the conditions of two assets."""
    return block(COMPONENTS, "yaml", "# defs/defs.yaml")


def scaffold(name: str, job: str, *upstream_jobs: str) -> list[str]:
    """Returns the command that the page shows, for other jobs."""
    words = block(COMPONENTS, "sh", "dg scaffold").split()
    words = [{"orders_and_payments": name, "revenue_job": job}.get(word, word) for word in words]
    named = [n + 1 for n, word in enumerate(words) if word == "--upstream-jobs"]
    for n, upstream in zip(named, upstream_jobs, strict=True):
        words[n] = upstream
    return words


RUNNING = "  default_status: RUNNING\n"
