"""One release of Dagster on one Python: a virtual environment with the wheel, and the tests."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from project.paths import ROOT

NEWEST = "newest"

TOOLS = ("pytest", "pytest-xdist", "hypothesis", "time-machine", "tabulate")
"""What the tests need besides the wheel and Dagster."""

TESTED = (
    *("tests/rule", "tests/paths", "tests/cli", "tests/crash", "tests/compat"),
    *("tests/history", "tests/replay", "tests/definitions", "tests/components"),
)
"""The library's tests and the command's."""

OF_THE_REPOSITORY = (
    "tests/paths/test_load.py",
    "tests/paths/test_locations.py",
    "tests/paths/test_security.py",
)
"""Those of them that ask the example, or what is beside it."""


@dataclass(frozen=True)
class Outcome:
    """What came of something, in words, and whether it passed."""

    words: str
    passed: bool = True

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Room:
    """A release of Dagster on a Python, in a folder of its own.

    Args:
        folder: Where; made if missing.
        interpreter: The Python.
        release: The release, or ``newest``: the newest for which the index has all that is needed.
    """

    folder: Path
    interpreter: Path
    release: str

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @cached_property
    def dagster(self) -> str:
        """The release that is installed."""
        use = "import dagster; print(dagster.__version__)"
        return _run([self.python, "-c", use], self.folder).stdout.strip()

    def install(self, wheel: Path) -> None:
        """Installs the release and the wheel, which brings nothing else but Dagster."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.python.exists():
            _run([self.interpreter, "-m", "venv", self.folder / "venv"], self.folder)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pin = "" if self.release == NEWEST else f"=={self.release}"
        # dg pins Dagster exactly, and may be behind it.
        packages = [f"dagster{pin}", f"dagster-dg-cli{pin}", f"{wheel}[plot]"]
        _run([*pip, "--upgrade", *packages, *TOOLS], self.folder)
        _run([*pip, "--force-reinstall", "--no-deps", wheel], self.folder)

    def fill(self) -> None:
        """Puts the tests here, which import the installed wheel and not this repository."""
        for name in ("tests", "benchmarks", "docs", "project"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        unwanted = shutil.ignore_patterns("__pycache__")
        for name in ("tests", "benchmarks", "docs"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=unwanted)
            for path in (self.folder / name).rglob("*.py"):
                path.write_text(_of_wheel(path.read_text()))
        (self.folder / "project").mkdir()
        for name in ("project/__init__.py", "project/paths.py", "pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, self.folder / name)

    def test(self, options: str) -> Outcome:
        """Returns the last line of the tests; what they print is in ``tests.log``."""
        command = [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options.split()]
        for path in OF_THE_REPOSITORY:
            command += ["--ignore", path]
        ended = _run([*command, *TESTED], self.folder, check=False)
        (self.folder / "tests.log").write_text(ended.stdout + ended.stderr)
        lines = ended.stdout.strip().splitlines() or ["nothing was printed"]
        return Outcome(lines[-1].strip("= "), passed=ended.returncode == 0)


def _of_wheel(text: str) -> str:
    """Returns the text of a test with the wheel's name, and without what Python 3.10 lacks: the
    tests are written for the Python of ``make setup``."""
    text = text.replace("project.fan_in", "dagster_fan_in")
    utc = "from dagster_fan_in.compat.python import UTC\n"
    return re.sub(
        r"^from datetime import UTC, (.*)\n", rf"from datetime import \1\n{utc}", text, flags=re.M
    )


def build_wheel(folder: Path) -> Path:
    """Returns the wheel of this repository, built into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--wheel-dir", folder, ROOT], ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def interpreters(versions: list[str]) -> Mapping[str, Path | None]:
    """Returns where each Python is: this one, of the path, or of pyenv; None if the machine has it
    not."""
    pyenv = shutil.which("pyenv")
    root = Path(_run([pyenv, "root"], ROOT).stdout.strip()) if pyenv else None
    found: dict[str, Path | None] = {}
    own = "{}.{}".format(*sys.version_info)
    for version in versions:
        named = [Path(sys.executable)] if version == own else []
        named += [Path(path)] if (path := shutil.which(f"python{version}")) else []
        named += sorted(root.glob(f"versions/{version}.*/bin/python")) if root else []
        found[version] = next(filter(_is_python, named), None)
    return found


def _is_python(path: Path) -> bool:
    """True unless it is a shim of a Python that is not chosen."""
    return _run([path, "-c", ""], ROOT, check=False).returncode == 0


def _run(
    command: list[str | Path], folder: Path, check: bool = True
) -> subprocess.CompletedProcess[str]:
    # Nothing of the environment that runs this.
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(
        list(map(str, command)), cwd=folder, env=kept, capture_output=True, text=True
    )
    if check and ended.returncode:
        raise RuntimeError(f"{json.dumps(list(map(str, command)))}\n{ended.stdout}{ended.stderr}")
    return ended
