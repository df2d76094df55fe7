"""The errors that a fan-in raises, all of one kind."""


class FanInError(ValueError):
    """Raised when a fan-in is defined or asked in a way that can have no answer."""


class NoHistory(FanInError):
    """Raised when nothing happened in the period that is asked about."""


class DamagedFile(FanInError):
    """Raised for a file that is no exported history, or no longer."""
