"""What Python 3.10 lacks."""

import re
from datetime import datetime, timezone

UTC = timezone.utc
"""UTC: ``datetime.UTC`` from 3.11."""


def parse_time(text: str) -> datetime:
    """Returns a time in ISO 8601: ``datetime.fromisoformat`` from 3.11.

    3.10 accepts neither a Z nor a fraction of other than three or six digits.

    Raises:
        ValueError: It is no such time.
    """
    text = re.sub(r"[Zz]$", "+00:00", text)
    text = re.sub(r"[.,](\d+)", lambda fraction: f".{fraction[1][:6]:0<6}", text)
    return datetime.fromisoformat(text)
