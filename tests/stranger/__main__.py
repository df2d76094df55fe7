"""Plays a stranger who installs the wheel in projects of their own, outside this repository.

python -m tests.stranger

They are scaffolded by the ecosystem's own tool; each form is added by the lines of the README and
of docs/components.md; ``dg dev`` runs until each has fired once for each batch; and ``fan-in`` is
asked. Each step is printed with its seconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.compat.room import build_wheel
from tests.stranger import shop
from tests.stranger.dev import Dev, DevError, dev

TOOLS = ("create-dagster", "dagster-dg-cli", "dagster-webserver")

CONFIG = """
telemetry: {enabled: false}
run_queue: {dequeue_interval_seconds: 1}
"""


class Stranger:
    """A machine of someone else's: a virtual environment, an instance, and a workspace.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.workspace = folder / "acme"
        self.shop = self.workspace / "projects" / "my-shop"
        self.defs = self.shop / "src" / "my_shop" / "defs"
        self.billing = self.workspace / "projects" / "billing"
        self.lines = 0

    @property
    def environment(self) -> Mapping[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "FAN_IN_DATA")}
        return {
            **kept,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.bin.parent),
            "DAGSTER_HOME": str(self.folder / "home"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }

    def run(self, *command: str | Path, here: Path | None = None) -> str:
        """Runs a command, by default in the project, and returns what it printed.

        Raises:
            DevError: It failed.
        """
        ended = subprocess.run(
            list(map(str, command)),
            cwd=here or self.shop,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        said = ended.stdout + ended.stderr
        if ended.returncode:
            raise DevError(f"{' '.join(map(str, command))} ends with {ended.returncode}:\n{said}")
        return ended.stdout

    def add(self, name: str, text: str) -> None:
        """Adds a file of ours to the project, or to what is there."""
        path = self.defs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text().splitlines() if path.exists() else []
        path.write_text(text)
        self.lines += len([x for x in text.splitlines() if x.strip() and x not in before])

    def dev(self, folder: Path) -> AbstractContextManager[Dev]:
        """``dg dev`` in a project, or in the workspace."""
        return dev(self.bin / "dg", folder, self.environment, self.folder / "dev.log")


def install(stranger: Stranger, wheel: Path) -> None:
    """Scaffolds the workspace with its two projects, and installs them and the wheel."""
    folder = stranger.folder
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "dagster.yaml").write_text(CONFIG)
    with step("a bare environment, pip install of the wheel"):
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [stranger.bin / "pip", "install", "--quiet", "--disable-pip-version-check"]
        stranger.run(*pip, wheel, here=folder)
    packages = stranger.run(stranger.bin / "pip", "list", "--format", "freeze", here=folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"  {len(packages.splitlines())} packages, {size / 1e6:.0f} MB;"
        f" the wheel {wheel.stat().st_size / 1e3:.0f} KB"
    )
    with step(f"pip install {' '.join(TOOLS)}"):
        # At once: the scaffolded projects pin the release of the tool that scaffolds them.
        stranger.run(*pip, *TOOLS, here=folder)
    with step("scaffold a workspace of two projects, and install them"):
        create = stranger.bin / "create-dagster"
        stranger.run(create, "workspace", "acme", "--no-uv-sync", here=folder)
        for project in (stranger.shop, stranger.billing):
            path = project.relative_to(stranger.workspace)
            stranger.run(create, "project", path, "--no-uv-sync", here=stranger.workspace)
            stranger.run(*pip, "--editable", path, here=stranger.workspace)
    (stranger.defs / "shop.py").write_text(shop.SHOP)
    (stranger.billing / "src" / "billing" / "defs" / "billing.py").write_text(shop.REFUNDS)


def in_python(stranger: Stranger) -> None:
    """Adds both forms by the README's Python, and plays one batch."""
    with step("both forms in Python"):
        stranger.add("../definitions.py", shop.definitions())
        stranger.add("revenue.py", shop.asset_form())
        stranger.add("orders_and_payments.py", shop.job_form())
        stranger.run("dg", "check", "defs")
        stranger.run("fan-in", "check")
    print(f"  {stranger.lines} lines added")
    with step("dg dev: a batch of each"), stranger.dev(stranger.shop) as running:
        running.start_sensor("my-shop", "orders_and_payments")
        running.fired(revenue=0, revenue_job=0)
        running.launch("my-shop", "orders_job")
        running.fired(revenue=0, revenue_job=0)
        running.launch("my-shop", "payments_job")
        running.fired(revenue=1, revenue_job=1)
        ask(stranger, "revenue", "revenue_job")


def in_yaml(stranger: Stranger) -> None:
    """Adds a sensor and conditions in YAML, and plays another batch."""
    before = stranger.lines
    with step("both forms in YAML"):
        (stranger.defs / "invoices_job.py").write_text(shop.INVOICES)
        stranger.run(*shop.scaffold("invoices", "invoices_job", "orders_job", "payments_job"))
        scaffolded = (stranger.defs / "invoices" / "defs.yaml").read_text()
        stranger.add("invoices/defs.yaml", scaffolded + shop.RUNNING)
        stranger.add("defs.yaml", shop.conditions())
        stranger.run("dg", "check", "yaml")
        stranger.run("dg", "check", "defs")
        stranger.run("fan-in", "check", here=stranger.defs / "invoices")
    print(f"  {stranger.lines - before} lines added to what was scaffolded")
    with step("dg dev: a batch of each"), stranger.dev(stranger.shop) as running:
        # What is new has all that completed within the day, and the rest goes on.
        running.fired(revenue=1, revenue_job=1, report=1, invoices_job=1)
        running.launch("my-shop", "orders_job")
        running.fired(revenue=1, revenue_job=1, report=1, invoices_job=1)
        running.launch("my-shop", "payments_job")
        running.fired(revenue=2, revenue_job=2, report=2, invoices_job=2)
        ask(stranger, "report", "invoices_job")


def in_a_workspace(stranger: Stranger) -> None:
    """Adds a downstream that waits for a job of the other project, and plays a batch of it, whose
    orders came before."""
    with step("a job that waits for one of another project"):
        (stranger.defs / "ledger_job.py").write_text(shop.LEDGER)
        stranger.run(*shop.scaffold("ledger", "ledger_job", "orders_job", "refunds_job@billing"))
        scaffolded = (stranger.defs / "ledger" / "defs.yaml").read_text()
        stranger.add("ledger/defs.yaml", scaffolded + shop.RUNNING)
        stranger.run("dg", "check", "defs")
    with step("dg dev in the workspace"), stranger.dev(stranger.workspace) as running:
        running.fired(ledger_job=0)
        running.launch("billing", "refunds_job")
        running.fired(ledger_job=1)
        running.launch("my-shop", "orders_job")
        running.fired(ledger_job=1, revenue=2, revenue_job=2, report=2, invoices_job=2)
        ask(stranger, "ledger_job")


def ask(stranger: Stranger, *downstreams: str) -> None:
    """Asks the command, in the project and in a folder below it, and prints what it says."""
    status = stranger.run("fan-in", "status")
    below = stranger.run("python", "-m", "dagster_fan_in", "status", here=stranger.defs)
    if below.count("\n") != status.count("\n"):
        raise DevError(f"status in a folder of the project says something else: {below}")
    print(status)
    for name in downstreams:
        print(stranger.run("fan-in", "explain", name, here=stranger.defs))


@contextmanager
def step(name: str) -> Iterator[None]:
    """Prints a step, and its seconds when it is done."""
    print(f"{name} ...", flush=True)
    began = time.monotonic()
    yield
    print(f"  {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stranger", description=__doc__)
    parser.add_argument("--folder", type=Path, help="kept at the end; must not be there yet")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stranger-", ignore_cleanup_errors=True) as folder:
        stranger = Stranger((arguments.folder or Path(folder)).resolve())
        try:
            install(stranger, build_wheel(Path(folder) / "wheel"))
            in_python(stranger)
            in_yaml(stranger)
            in_a_workspace(stranger)
        except DevError as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    print("Each form has fired exactly once for each batch.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
