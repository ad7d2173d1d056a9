"""How the window writes numbers, and what its terms mean.

Numbers have three significant digits and a unit. An unknown value is a dash, never 0. All digits of DejaVu have the
same width, so a text does not move while its digits change. The terms are used in tooltips and in the help card.
"""

from plots.number import UNKNOWN, count_digits, three_digits


def format_count(value: float | None, unit: str = "") -> str:
    """A count or a rate: `812`, `8.13 k`, `1.02 M/s`; at most six characters before the unit. Negative: ValueError."""
    if value is None:
        return UNKNOWN
    if value < 0:
        raise ValueError(f"count is {value}; it must not be negative")
    digits, prefix = ("<1", "") if 0 < value < 0.5 else count_digits(value)
    return f"{digits} {prefix}{unit}".rstrip()


def format_whole(value: int) -> str:
    """All digits, in groups of three: `17,000`."""
    return f"{value:,}"


def format_ms(value: float | None) -> str:
    """A duration given in milliseconds: `0.41 ms`, `41.2 ms`, `412 ms`, `1.25 s`, `3.2 min`."""
    if value is None:
        return UNKNOWN
    if value < 999.5:
        return f"{three_digits(value)} ms"
    # Below what would round to 60.0 s.
    if value < 59_950:
        return f"{three_digits(value / 1000)} s"
    return f"{value / 60_000:.1f} min"


def format_us(value: float | None) -> str:
    """A duration given in microseconds: `0.06 us`, `5.90 us`, `3.10 ms`."""
    if value is None or value >= 999.5:
        return format_ms(None if value is None else value / 1000)
    return f"{three_digits(value)} us"


def format_ratio(value: float | None) -> str:
    """A ratio 0..1 in whole per cent: `41 %`."""
    return UNKNOWN if value is None else f"{value * 100:.0f} %"


def format_cores(value: float | None) -> str:
    """CPU time per wall time: `0.81 core`."""
    return UNKNOWN if value is None else f"{value:.2f} core"


def format_clock(seconds: float) -> str:
    """Minutes and seconds of a run: `02:14`, or `1:02:14` from one hour on."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


TERMS: dict[str, str] = {
    "utilisation": "Busy time / elapsed time of the busiest loop. Near 100 % its queue grows without bound.",
    "throughput": "Items processed per second, over the last second.",
    "service time": "Processing time per item, excluding queueing.",
    "waiting time": "Time in the queue before the stage. By Little's law: depth / throughput.",
    "queue": "Items waiting for the stage. When it is full, the upstream stage blocks: backpressure.",
    "tick queue": "Batch queue, drained every tick: being full is normal.",
    "high-water mark": "The greatest depth of the queue within the last second.",
    "limit": "Capacity. When it is reached, the upstream stage blocks, and finally TCP flow control pushes back on the "
    "senders.",
    "drops": "Items discarded per second, by reason.",
    "brake": "Service time added on purpose, to watch the queue before the stage fill.",
    "bottleneck": "The stage that limits throughput: the saturated one whose input queue grows.",
    "headroom": "Spare capacity: how much the current load could still grow.",
    "load curve": "Load multiplier over time. Draw it with the mouse.",
    "fault": "An injected fault: watch how the system recovers.",
}


def explain(term: str) -> str:
    """A term and its meaning, as two lines of a tooltip."""
    return f"{term}\n{TERMS[term]}"
