"""What a judge finds wrong with a history."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the rule forbids.

    Args:
        kind: "lost", "late", "duplicate", "stale", "early", or "unexplained".
        at: When.
        why: In words.
        timeline: The part of the history around it, in the notation, and what was requested.
    """

    kind: str
    at: datetime
    why: str
    timeline: str = ""
