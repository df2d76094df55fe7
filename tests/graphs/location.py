"""The code location of the world that plays: a module, since Dagster loads one by its name."""

import dagster as dg

definitions = dg.Definitions()
"""What is deployed now; the world sets it."""

failing: set[str] = set()
"""The assets whose steps fail, where runs are really executed."""


def work(name: str) -> None:
    """Does an asset's work, or fails."""
    if name in failing:
        raise RuntimeError(f"{name} fails")
