"""Chaos on a live daemon (`make chaos`): kills, broken cursors, restarts; then the history is
judged."""
