"""A real Dagster on this machine, for people (`make dev`), for the demo and for the tests."""
