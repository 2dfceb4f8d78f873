"""Durations as people write them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import msgspec
from pytimeparse2 import parse as _parse_words

Duration: TypeAlias = str | float | int | timedelta
Delay: TypeAlias = Duration | datetime

FOREVER: Final = 253_402_300_799.0
"""The last second of the year 9999: no time is later (T12)."""

_ISO: Final = msgspec.json.Decoder(timedelta)


def seconds(duration: Duration) -> float:
    """``duration`` in seconds: a number, a ``timedelta``, ``"30s"``, ``"1 day"``, ``"2h30m"``, or ISO 8601 (``"P1D"``).

    Raises:
        ValueError: It can't be read whole; months and years are refused, since they have no fixed length.
    """
    if isinstance(duration, bool):
        raise TypeError("a delay is a number of seconds, not a bool")
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        value = _read(duration.strip())
    else:
        value = float(duration)
    if math.isnan(value):
        raise ValueError("a delay can't be NaN")
    return min(max(value, 0.0), FOREVER)


def _read(text: str) -> float:
    if text[:1] in "Pp+-" and "P" in text.upper()[:2]:
        try:
            return _ISO.decode(msgspec.json.encode(text.upper())).total_seconds()
        except msgspec.MsgspecError:
            raise ValueError(_unreadable(text)) from None
    if "month" in text.lower() or "year" in text.lower() or not text:
        raise ValueError(_unreadable(text))
    # a bare number is seconds here as everywhere; pytimeparse2 would read "1:30" as a clock time, which is fine
    value = _parse_words(text)
    if value is None:
        raise ValueError(_unreadable(text))
    return float(value) if not isinstance(value, timedelta) else value.total_seconds()


def _unreadable(text: str) -> str:
    return f'can\'t read {text!r} as a duration; write "30s", "2h30m", "1 day" or ISO 8601 ("P1D"); months and years have no fixed length'


def until(delay: Delay, *, now: float) -> float:
    """Seconds from ``now`` (epoch) to the end of ``delay``, which may be a moment.

    Raises:
        ValueError: A naive ``datetime``: it names another moment on every machine.
    """
    if not isinstance(delay, datetime):
        return seconds(delay)
    if delay.tzinfo is None or delay.utcoffset() is None:
        raise ValueError(
            f"sleep until {delay!r}: a naive datetime names another moment on every machine; give it a time zone, e.g. .replace(tzinfo=timezone.utc)"
        )
    return max(delay.timestamp() - now, 0.0)
