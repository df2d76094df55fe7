"""The errors that a fan-in raises, with one base class."""

from collections.abc import Collection, Iterable


class FanInError(ValueError):
    """Raised when a fan-in cannot work as it is defined, or a question about it has no answer."""


class NoHistory(FanInError):
    """Raised when nothing happened in the period in question."""


class DamagedFile(FanInError):
    """Raised for a file that is not an exported history, or a damaged one."""


def check_names(what: str, names: Iterable[object], upstreams: Collection[str]) -> None:
    """Raises FanInError if an argument names something that is no upstream."""
    if unknown := sorted(map(str, set(names) - set(upstreams))):
        raise FanInError(
            f"{what} names {', '.join(map(repr, unknown))}, which is not among the upstreams:"
            f" name some of {', '.join(upstreams)}"
        )
