"""Which of many rows the default suite plays."""

from collections.abc import Iterable
from typing import Any

import pytest


def a_few(rows: Iterable[Any], every: int) -> list[Any]:
    """Returns the rows as parameters: one of so many is of the default suite, the others are
    slow."""
    return [
        pytest.param(row, marks=[pytest.mark.slow] * (number % every > 0))
        for number, row in enumerate(rows)
    ]
