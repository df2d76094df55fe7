"""What differs between releases of Dagster, and of Python. Fails on a Dagster that is too old.

``releases`` has Dagster's differences, ``python`` those of Python.
"""

import re
import warnings

from dagster import __version__ as dagster_version

OLDEST = (1, 12)
"""The oldest release of Dagster that the library works on."""

NEWEST = (1, 13)
"""The newest release that the library is tested on."""


def check_release(found: str) -> None:
    """Warns about a release of Dagster that is unknown, or newer than those tested.

    Raises:
        ImportError: The release is too old.
    """
    numbers = re.match(r"(\d+)\.(\d+)", found)
    release = numbers and (int(numbers[1]), int(numbers[2]))
    oldest, newest = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
    if release and release < OLDEST:
        raise ImportError(
            f"dagster {found} is too old for dagster-fan-in, which needs {oldest} or newer:"
            f" pip install --upgrade 'dagster>={oldest}'"
        )
    if not release or release > NEWEST:
        warnings.warn(
            f"dagster-fan-in is tested on dagster {oldest} to {newest}, this is {found}: it may"
            " work; see whether there is a newer dagster-fan-in",
            stacklevel=2,
        )


def register(version: str) -> None:
    """Shows the version of this library beside those of Dagster's own, as its code server does."""
    from dagster_shared.libraries import DagsterLibraryRegistry

    DagsterLibraryRegistry.register("dagster-fan-in", version, is_dagster_package=False)


check_release(dagster_version)
