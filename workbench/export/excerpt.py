"""The part of a recording that is exported, and its times on the clocks that formats need."""

from dataclasses import dataclass
from datetime import UTC, datetime

from workbench.errors import UserError
from workbench.recording.reader import Recording

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A time span of a recording, within it and not empty. Times are of the run's clock, as in the recording's rows."""

    recording: Recording
    from_ns: int
    to_ns: int
    created_ns: int
    """When the recording started, in nanoseconds since the Unix epoch."""

    @property
    def after_ns(self) -> int:
        """The start for the reader, whose spans exclude their start, so that `from_ns` is included."""
        return self.from_ns - 1

    @property
    def duration_s(self) -> float:
        """Its length."""
        return (self.to_ns - self.from_ns) / _NS_PER_S

    def holds(self, time_ns: int) -> bool:
        """Whether this time is in it."""
        return self.from_ns <= time_ns <= self.to_ns

    def utc_ns(self, time_ns: int) -> int:
        """A time of the run in nanoseconds since the Unix epoch."""
        return self.created_ns + time_ns - self.recording.first_ns


def excerpt_of(recording: Recording, from_s: float | None = None, to_s: float | None = None) -> Excerpt:
    """From `from_s` to `to_s` seconds after the recording's start; None: its start, its end.

    A `to_s` beyond the end means the end. Raises UserError for an empty span.
    """
    duration_s = recording.duration_s
    start_s = 0.0 if from_s is None else from_s
    if not 0 <= start_s <= duration_s:
        raise UserError(f"--from is {start_s:g}; it must be 0 to {duration_s:.1f}, the recording's length in seconds")
    if to_s is not None and not to_s > start_s:
        raise UserError(f"--to is {to_s:g}; it must be greater than --from, which is {start_s:g}")
    last_ns = recording.last_ns
    end_ns = last_ns if to_s is None else min(last_ns, recording.first_ns + round(to_s * _NS_PER_S))
    from_ns = recording.first_ns + round(start_s * _NS_PER_S)
    assert recording.first_ns <= from_ns and end_ns <= last_ns
    return Excerpt(recording, from_ns, end_ns, _created_ns(recording))


def _created_ns(recording: Recording) -> int:
    text = recording.meta.get("created_utc", "")
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{recording.path} is damaged: its creation time is {text!r}; use another copy") from None
    zoned = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
    # A float of this size cannot hold nanoseconds, but milliseconds, and the text has no more.
    return round(zoned.timestamp() * 1000) * 1_000_000
