"""Which rows the default suite plays, and which tests exist."""

import re
from collections.abc import Iterable
from typing import Any

import dagster as dg
import pytest

from project.paths import ROOT

needs_views = pytest.mark.skipif(
    dg.__version__.startswith("1.12."), reason="virtual assets: from Dagster 1.13.0"
)

needs_conditions_of_jobs = pytest.mark.skipif(
    not hasattr(dg.AutomationCondition, "any_job_root_assets_match"), reason="from Dagster 1.13.14"
)


def a_few(rows: Iterable[Any], every: int) -> list[Any]:
    """Returns the rows as parameters: one in ``every`` runs by default, the others are slow."""
    return [
        pytest.param(row, marks=[pytest.mark.slow] * (number % every > 0))
        for number, row in enumerate(rows)
    ]


def functions_in(module: str) -> set[str]:
    """Returns the names of a module's test functions, whatever its folder."""
    (path,) = ROOT.glob(f"tests/*/{module}.py")
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.M))
