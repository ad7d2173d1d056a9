"""Figures as words of a sentence: short, with their unit, and with no more digits than a reader takes in.

Invariant: the same figure is always the same words.
"""

_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(ratio: float) -> str:
    """A share of 0..1: "41 %"."""
    return f"{100 * ratio:.0f} %"


def whole(value: float) -> str:
    """A count, told to the last one: "131,072"."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A count in two or three digits: "812", "8.1 k", "1.02 M"."""
    divisor, letter = next((step for step in _STEPS if value >= step[0] * 0.9995), (1.0, ""))
    if not letter:
        return f"{value:.0f}"
    scaled = value / divisor
    return f"{scaled:.{2 if scaled < 2 else 1 if scaled < 99.95 else 0}f} {letter}"


def duration(milliseconds: float) -> str:
    """A time: "3.1 s", "420 ms", "0.4 ms"."""
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 9.5 else f"{milliseconds:.1f} ms"


def plural(count: float, noun: str) -> str:
    """A count and its noun: "1 core", "2 cores"."""
    return f"{whole(count)} {noun}" + ("" if round(count) == 1 else "s")
