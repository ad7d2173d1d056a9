"""How numbers are written on screens: three significant digits, a unit, and no more width than they had before.

What is not known is a dash, never 0. DejaVu's digits are all of one width, so a text of as many digits stands still.
"""

UNKNOWN = "\N{EN DASH}"

_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def _three_digits(value: float) -> str:
    """Three significant digits of a value from 1 to 999.5, e.g. 1.02, 41.0, 412."""
    for limit, decimals in ((9.995, 2), (99.95, 1)):
        if value < limit:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"


def format_count(value: float | None, unit: str = "") -> str:
    """A count or a rate: `812`, `8.13 k`, `1.02 M/s`. Six characters at most before the unit. Negative values raise."""
    if value is None:
        return UNKNOWN
    if value < 0:
        raise ValueError(f"count is {value}; it must not be negative")
    gap = f" {unit}" if unit else ""
    if value < 999.5:
        return ("<1" if 0 < value < 0.5 else f"{value:.0f}") + gap
    for step, letter in _STEPS:
        # The step above is entered where three digits would round up to it: 999,500 is 1.00 M, not 1000 k.
        if value >= step * 0.9995:
            return f"{_three_digits(max(1.0, value / step))} {letter}{unit}"
    raise AssertionError(f"no step for {value}")


def format_whole(value: int) -> str:
    """Every digit, in groups of three: `17,000`."""
    return f"{value:,}"


def format_ms(value: float | None) -> str:
    """A duration given in milliseconds: `0.41 ms`, `41.2 ms`, `412 ms`, `1.25 s`, `3.2 min`."""
    if value is None:
        return UNKNOWN
    if value < 999.5:
        return f"{_three_digits(value)} ms"
    if value < 59_950:
        return f"{_three_digits(value / 1000)} s"
    return f"{value / 60_000:.1f} min"


def format_us(value: float | None) -> str:
    """A duration given in microseconds: `0.06 us`, `5.90 us`, `3.10 ms`."""
    if value is None or value >= 999.5:
        return format_ms(None if value is None else value / 1000)
    return f"{_three_digits(value)} us"


def format_ratio(value: float | None) -> str:
    """A ratio 0..1 as whole per cent: `41 %`."""
    return UNKNOWN if value is None else f"{value * 100:.0f} %"


def format_cores(value: float | None) -> str:
    """Processor time per time: `0.81 core`."""
    return UNKNOWN if value is None else f"{value:.2f} core"


def format_clock(seconds: float) -> str:
    """Minutes and seconds of a run: `02:14`, from an hour on `1:02:14`."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
