"""How numbers are written on panels, in tables and in sentences: three significant digits, and an SI prefix.

Small numbers have no prefix (0.2 stays 0.2, not 200 m), which is why this is not matplotlib's EngFormatter; it also
imports nothing, so that any process can use it.
"""

import math
from typing import Any

UNKNOWN = "\N{EN DASH}"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def with_prefix(value: float) -> tuple[float, str]:
    """A value as a multiple of an SI prefix: `with_prefix(1_234_567) == (1.234567, "M")`; no prefix below 1000.

    A prefix is used from where three digits round up to it: 999,500 is 1.00 M, not 1000 k.
    """
    return next(((value / size, prefix) for size, prefix in _PREFIXES if abs(value) >= size * 0.9995), (value, ""))


def three_digits(value: float, *, grouped: bool = False) -> str:
    """A number with decimals only below 100: "0.42", "61.1", "205". `grouped`: thousands as in "12,345"."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}" if grouped else f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def short_number(value: float) -> str:
    """A round number, as of a tick, in full: `short_number(1.5e6) == "1.5 M"`."""
    scaled, prefix = with_prefix(value)
    return f"{scaled:g} {prefix}" if prefix else f"{scaled:g}"


def count_digits(value: float) -> tuple[str, str]:
    """A count in at most four characters, and its prefix: `count_digits(1_234_567) == ("1.23", "M")`. NaN is a dash."""
    if math.isnan(value):
        return UNKNOWN, ""
    scaled, prefix = with_prefix(value)
    return (three_digits(scaled), prefix) if prefix else (f"{value:.0f}", "")


def measure_digits(value: float) -> tuple[str, str]:
    """A measurement in at most four characters: decimals below 100, a prefix only from 10,000 on. NaN is a dash."""
    if math.isnan(value):
        return UNKNOWN, ""
    return (three_digits(value), "") if value < 9999.5 else count_digits(value)


def share_digits(value: float) -> tuple[str, str]:
    """A share of a whole in percent: `share_digits(0.41) == ("41", "%")`. NaN is a dash."""
    return (UNKNOWN, "") if math.isnan(value) else (f"{100 * value:.0f}", "%")


def index_digits(value: float) -> tuple[str, str]:
    """An index between 0 and 1. NaN is a dash."""
    return (UNKNOWN if math.isnan(value) else f"{value:.2f}"), ""


def count_text(value: float) -> str:
    """A count in a sentence: "812", "8.13 k", "1.02 M"."""
    return " ".join(count_digits(value)).rstrip()


def percent(ratio: float) -> str:
    """A share of 0..1: "41 %"."""
    return f"{100 * ratio:.0f} %"


def whole(value: float) -> str:
    """A count to the last digit: "131,072"."""
    return f"{value:,.0f}"


def plural(count: float, noun: str) -> str:
    """A count and its noun: "1 core", "2 cores"."""
    return f"{whole(count)} {noun}" + ("" if round(count) == 1 else "s")


def duration(milliseconds: float) -> str:
    """A time: "3.1 s", "420 ms", "0.4 ms"."""
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 9.5 else f"{milliseconds:.1f} ms"


def with_unit(value: float, unit: str) -> str:
    """A figure in at most six characters, its prefix and its unit: "1.02 M/s", "41.2 ms"; a ratio in "%" as "93 %"."""
    if unit == "%":
        return f"{100 * value:.{2 if value < 0.00995 else 1 if value < 0.0995 else 0}f} %"
    scaled, prefix = with_prefix(value) if unit == "/s" else (value, "")
    digits = three_digits(scaled, grouped=True) if value else "0"
    return f"{digits}/s" if unit == "/s" and not prefix else f"{digits} {prefix}{unit}"


def none_if_nan(value: Any) -> float | None:
    """A number as a float; None for None, and for NaN, which stands for the unknown in arrays."""
    return None if value is None or math.isnan(value) else float(value)
