"""How numbers are written on screens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plots.number import UNKNOWN
from workbench.window.toolkit.wording import (
    format_clock,
    format_cores,
    format_count,
    format_ms,
    format_ratio,
    format_us,
    format_whole,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0/s"),
        (0.2, "<1/s"),
        (0.5, "0/s"),
        (7, "7/s"),
        (999.4, "999/s"),
        (999.5, "1.00 k/s"),
        (1_019_000, "1.02 M/s"),
        (8_130, "8.13 k/s"),
        (58_310, "58.3 k/s"),
        (999_499, "999 k/s"),
        (999_500, "1.00 M/s"),
        (17e9, "17.0 G/s"),
        (None, UNKNOWN),
    ],
)
def test_a_count_has_three_digits_and_a_letter(value: float | None, text: str) -> None:
    assert format_count(value, "/s").replace(" /s", "/s") == text


@given(st.floats(min_value=0, max_value=9.99e11))
@settings(deadline=None)
def test_a_count_is_close_to_its_value_and_short(value: float) -> None:
    text = format_count(value)
    number, _, letter = text.partition(" ")
    assert len(text) <= 6
    if text == "<1":
        assert 0 < value < 0.5
        return
    shown = float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[letter]
    assert shown == pytest.approx(value, rel=0.0051, abs=0.5)
    if letter:
        assert len(number.replace(".", "")) == 3


def test_a_negative_count_raises() -> None:
    with pytest.raises(ValueError, match="count is -1; it must not be negative"):
        format_count(-1)


def test_other_units() -> None:
    assert format_whole(17_000) == "17,000"
    assert [format_ms(ms) for ms in (0.412, 41.23, 412.0, 1250.0, 192_000.0)] == [
        "0.41 ms",
        "41.2 ms",
        "412 ms",
        "1.25 s",
        "3.2 min",
    ]
    assert (format_ratio(0.414), format_cores(0.812)) == ("41 %", "0.81 core")
    assert (format_clock(134.9), format_clock(3734)) == ("02:14", "1:02:14")
    assert format_ms(None) == format_ratio(None) == format_cores(None) == UNKNOWN


@pytest.mark.parametrize(
    ("value", "text"), [(0.06, "0.06 us"), (5.9, "5.90 us"), (999.4, "999 us"), (3100, "3.10 ms"), (None, UNKNOWN)]
)
def test_microseconds_become_milliseconds(value: float | None, text: str) -> None:
    assert format_us(value) == text
