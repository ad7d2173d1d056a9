"""Samples to draw panels from, and helpers that look into the pictures."""

import numpy as np
from matplotlib.colors import to_rgb

from plots.geometry import Box
from plots.history import LATENCY_BAND_EDGES_MS, MARKER, SAMPLE, SAMPLE_INTERVAL_NS
from plots.panels import NO_MARKERS, Panels
from plots.style import DARK
from plots.timeline import TimeSpan

WIDTH, HEIGHT = 700, 500
START_NS = 1_000_000_000_000
UNSEEN = ("latency_ms_p50", "latency_ms_p99", "latency_ms_max", "service_us", "waiting_ms", "fairness_index")


def samples(count=600, **fields):
    """`count` samples, ten per second: zeros and unknown latencies, with these fields set."""
    rows = np.zeros(count, SAMPLE)
    rows["time_ns"] = START_NS + np.arange(count) * SAMPLE_INTERVAL_NS
    for name in UNSEEN:
        rows[name] = np.nan
    for name, values in fields.items():
        rows[name] = values
    return rows


def markers(*seconds_and_texts, kind=0):
    """Markers, each given as seconds after the first sample and its text."""
    rows = np.zeros(len(seconds_and_texts), MARKER)
    for row, (seconds, text) in zip(rows, seconds_and_texts, strict=True):
        row["time_ns"], row["kind"], row["text"] = START_NS + seconds * 1_000_000_000, kind, text.encode()
    return rows


def ledger_rows():
    """5000 placements/s sent: 3000 admitted, 1000 throttled, 1000 more in flight each second."""
    seconds = np.arange(600) * 0.1
    return samples(
        offered_per_s=5000.0,
        admitted_count=3000.0 * seconds,
        throttled_count=1000.0 * seconds,
        in_flight_count=1000.0 * seconds,
        sent_count=5000.0 * seconds,
    )


def end_of(rows):
    return int(rows["time_ns"][-1]) if len(rows) else 0


def band_of(latency_ms):
    """The band of the heat map that holds this latency."""
    return int(np.searchsorted(LATENCY_BAND_EDGES_MS, latency_ms, side="right")) - 1


def drawn(rows, panels=None, span=None, marks=NO_MARKERS):
    """The picture of these samples, up to the newest: shape (height, width, 3)."""
    panels = panels or Panels(WIDTH, HEIGHT)
    return panels.draw(rows, span or TimeSpan.live_at(end_of(rows)), marks)[..., :3].copy()


def part(picture, box: Box):
    return picture[box.top : box.bottom, box.left : box.right]


def lone(name, theme=DARK, note=""):
    """One panel with the whole picture for itself."""
    return Panels(WIDTH, HEIGHT, names=(name,), theme=theme, note=note)


def plot(rows, name, span=None, marks=NO_MARKERS, theme=DARK):
    """The plot of one panel that has the whole picture for itself."""
    panels = lone(name, theme)
    return part(drawn(rows, panels, span, marks), panels.panels[0].boxes.plot)


def where(area, color, tolerance=24):
    """Which pixels of `area` have this colour, nearly."""
    wanted = np.array(to_rgb(color)) * 255
    return np.abs(area.astype(float) - wanted).max(axis=2) <= tolerance
