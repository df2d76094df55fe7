"""The code location of the world that plays: a module, since Dagster loads one by its name."""

import dagster as dg

definitions = dg.Definitions()
"""What is deployed now; the world sets it."""
