"""The code location of the world that plays: a module, since Dagster loads one by its name."""

from collections.abc import Callable

import dagster as dg

definitions = dg.Definitions()
"""What is deployed now; the world sets it."""

failing: set[str] = set()
"""The assets whose steps fail, where runs are really executed."""

lookers: list[Callable[[str, dg.AssetExecutionContext], None]] = []
"""Called with each asset that is really executed, and its context."""


def work(name: str, context: dg.AssetExecutionContext) -> None:
    """Does an asset's work, or fails."""
    for look in lookers:
        look(name, context)
    if name in failing:
        raise RuntimeError(f"{name} fails")
