"""Durations as people write them, and when to try again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.model.durations import FOREVER, seconds, until
from outlive.model.retry import LONGEST_DELAY, RetryPolicy, next_delay


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30.0),
        ("30 seconds", 30.0),
        ("1 day", 86_400.0),
        ("2h30m", 9_000.0),
        ("2 hours, 30 minutes", 9_000.0),
        ("1.5h", 5_400.0),
        ("1 week", 604_800.0),
        ("  5m  ", 300.0),
        ("0s", 0.0),
        ("30", 30.0),
        ("P1D", 86_400.0),
        ("PT2H30M", 9_000.0),
        ("pt5s", 5.0),
    ],
)
def test_a_duration_is_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "  ", "soon", "5m30", "1 month", "2 years", "1 day and a bit", "P1M", "P1Y", "5x", "--5s", "1e3q"]
)
def test_what_can_not_be_read_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"can't read .* as a duration; write"):
        seconds(text)


@pytest.mark.parametrize(
    ("value", "expected"), [(5, 5.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (-3, 0.0), ("-P1D", 0.0)]
)
def test_numbers_and_timedeltas_are_seconds_and_never_negative(value: float | timedelta | str, expected: float) -> None:
    assert seconds(value) == expected


def test_a_bool_is_no_delay() -> None:
    with pytest.raises(TypeError):
        seconds(True)


def test_nan_is_no_delay() -> None:
    with pytest.raises(ValueError, match="NaN"):
        seconds(float("nan"))


def test_t12_for_ever_is_the_year_9999() -> None:
    assert seconds(float("inf")) == FOREVER


def test_until_a_moment_is_what_is_left() -> None:
    assert until(datetime.fromtimestamp(1_060, UTC), now=1_000.0) == 60.0


def test_until_a_moment_in_another_zone() -> None:
    assert until(datetime.fromtimestamp(1_060, timezone(timedelta(hours=5))), now=1_000.0) == 60.0


def test_until_a_moment_that_has_passed_is_now() -> None:
    assert until(datetime.fromtimestamp(900, UTC), now=1_000.0) == 0.0


def test_a_naive_moment_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="another moment on every machine"):
        until(datetime(2027, 1, 1), now=0.0)


@pytest.mark.parametrize(("attempt", "expected"), [(1, 1.0), (2, 2.0), (3, 4.0)])
def test_the_pause_doubles(attempt: int, expected: float) -> None:
    assert next_delay(RetryPolicy(), attempt=attempt, retry_after=None, chance=1.0) == expected


def test_after_the_last_attempt_there_is_none() -> None:
    assert next_delay(RetryPolicy(max_retries=3), attempt=4, retry_after=None, chance=0.0) is None


def test_a_step_may_ask_for_its_own_pause_but_not_for_more_attempts() -> None:
    assert next_delay(RetryPolicy(delay=5.0), attempt=1, retry_after=60.0, chance=0.0) == 60.0
    assert next_delay(RetryPolicy(max_retries=0), attempt=1, retry_after=60.0, chance=0.0) is None


def test_a_fixed_delay_is_kept_as_it_is() -> None:
    assert next_delay(RetryPolicy(delay=5.0), attempt=2, retry_after=None, chance=0.3) == 5.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_pause_is_bounded_and_spread(attempt: int, chance: float) -> None:
    pause = next_delay(RetryPolicy(max_retries=10_000), attempt=attempt, retry_after=None, chance=chance)
    assert pause is not None and 0.5 <= pause <= LONGEST_DELAY
