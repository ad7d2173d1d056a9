"""One placement's journey as spans of a time line, and how long each is drawn. It draws nothing.

Invariant: the spans follow each other without a gap from the intended send time to the last mark that is known, so
their lengths add up to the whole.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workbench.telemetry.view import Journey

STEPS: tuple[tuple[str, str, str], ...] = (
    ("sent_ns", "sent", "From the time it was meant to be sent until its frame was handed to the device's socket"),
    ("read_ns", "read", "Through the kernel's sockets, waiting until the server read it"),
    ("decoded_ns", "decoded", "Until its frame was a message: waiting in the arena, and decoding"),
    ("admitted_ns", "admitted", "Until bounds and token bucket had let it in"),
    ("applied_ns", "applied", "Until its colour stood on the canvas"),
    ("encoded_ns", "encoded", "Waiting for the tick, and until the tick's changes were encoded"),
    ("journaled_ns", "journaled", "Until the tick's changes were on disk, before which they are sent to nobody"),
    ("fanned_out_ns", "sent out", "Until the viewer's socket had taken the broadcast"),
    ("seen_ns", "seen", "Until the viewer had received it, and found the placement in it"),
)
"""Marks of a `Journey` in their order: field, name, and what happens in the span that ends there."""

LEAST_NS = 1_000
"""Spans below this are drawn alike."""


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two marks."""

    name: str
    meaning: str
    start_ns: int
    """Since the intended send time."""
    length_ns: int


def spans_of(journey: Journey) -> list[Span]:
    """The spans up to the last mark that is known; a mark that is not told is passed over.

    Marks of different processes are of one clock, yet each is taken a moment after what it marks: one that would go
    backwards counts as no time.
    """
    spans, at_ns = [], journey.intended_ns
    for field, name, meaning in STEPS:
        mark_ns = getattr(journey, field)
        if mark_ns is not None:
            end_ns = max(at_ns, mark_ns)
            spans.append(Span(name, meaning, at_ns - journey.intended_ns, end_ns - at_ns))
            at_ns = end_ns
    return spans


def total_ns(journey: Journey) -> int | None:
    """From the intended send time until it was seen; None while it was not."""
    return None if journey.seen_ns is None else max(0, journey.seen_ns - journey.intended_ns)


def newest_complete(journeys: Sequence[Journey]) -> Journey | None:
    """The last that was seen, or else the last."""
    seen = [journey for journey in journeys if journey.seen_ns is not None]
    candidates = seen or journeys
    return candidates[-1] if candidates else None


def drawn_lengths(spans: Sequence[Span], width: int) -> list[int]:
    """Pixels of each span in `width`: they grow with the logarithm of time, so that microseconds are seen beside
    hundreds of milliseconds. They add up to `width`."""
    weights = [math.log10(1 + span.length_ns / LEAST_NS) for span in spans]
    total = sum(weights)
    edges, passed = [0], 0.0
    for weight in weights:
        passed += weight
        edges.append(round(width * passed / total) if total else 0)
    return [after - before for before, after in pairwise(edges)]


def longest(spans: Sequence[Span]) -> int | None:
    """The index of the longest span."""
    return max(range(len(spans)), key=lambda index: spans[index].length_ns) if spans else None


def format_span(length_ns: int) -> str:
    """A short time: `0.8 us`, `41 us`, `3.1 ms`, `412 ms`, `1.25 s`."""
    if length_ns < 9_950:
        return f"{length_ns / 1e3:.1f} us"
    if length_ns < 999_500:
        return f"{length_ns / 1e3:.0f} us"
    if length_ns < 9_950_000:
        return f"{length_ns / 1e6:.1f} ms"
    return f"{length_ns / 1e6:.0f} ms" if length_ns < 999_500_000 else f"{length_ns / 1e9:.2f} s"
