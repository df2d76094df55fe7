"""The errors that a fan-in raises, with one base class."""


class FanInError(ValueError):
    """Raised when a fan-in cannot work as it is defined, or a question about it has no answer."""


class NoHistory(FanInError):
    """Raised when nothing happened in the period in question."""


class DamagedFile(FanInError):
    """Raised for a file that is not an exported history, or a damaged one."""
