"""When a failed attempt is tried again: a decision, made from values alone."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 3600.0


class RetryPolicy(Struct, frozen=True, omit_defaults=True, gc=False):
    """``max_retries`` attempts follow the first; ``delay`` fixes the pause between them, unset it doubles from 1 s."""

    max_retries: int = 3
    delay: float | None = None


def next_delay(policy: RetryPolicy, *, attempt: int, retry_after: float | None, chance: float) -> float | None:
    """Seconds until the attempt after ``attempt``, or ``None`` if there is none.

    Args:
        attempt: The attempt that failed, from 1.
        retry_after: What the step asked for itself; it wins over the policy's pause, not over its limit.
        chance: A number in [0, 1): jitter that keeps many failed steps from coming back as one herd (E9).
    """
    if attempt > policy.max_retries:
        return None
    if retry_after is not None:
        return max(retry_after, 0.0)
    if policy.delay is not None:
        return policy.delay
    pause = min(FIRST_DELAY * 2.0 ** min(attempt - 1, 30), LONGEST_DELAY)
    return pause * (0.5 + chance / 2)
