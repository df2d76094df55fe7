"""The one error that a fan-in raises."""


class FanInError(ValueError):
    """Raised when a fan-in is defined or asked in a way that can have no answer."""
