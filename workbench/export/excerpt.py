"""The part of a recording that is exported, with its beginning and end on each clock that a format may want.

It reads no rows. Invariant: the excerpt lies within the recording, and is not empty.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from workbench.errors import UserError
from workbench.recording.reader import Recording

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A span of a recording. Times of rows are those of the clock that the run had."""

    recording: Recording
    from_ns: int
    to_ns: int
    created_ns: int
    """When the recording was begun, in nanoseconds of the UTC epoch."""

    @property
    def after_ns(self) -> int:
        """Where the reader's spans, which leave their beginning out, have to begin to hold `from_ns`."""
        return self.from_ns - 1

    @property
    def duration_s(self) -> float:
        """From its beginning to its end."""
        return (self.to_ns - self.from_ns) / _NS_PER_S

    def holds(self, time_ns: int) -> bool:
        """Whether this moment is in it."""
        return self.from_ns <= time_ns <= self.to_ns

    def utc_ns(self, time_ns: int) -> int:
        """A time of the run, in nanoseconds of the UTC epoch."""
        return self.created_ns + time_ns - self.recording.first_ns


def excerpt_of(recording: Recording, from_s: float | None = None, to_s: float | None = None) -> Excerpt:
    """From `from_s` to `to_s` seconds after the recording's beginning, or from there, or to its end.

    A `to_s` beyond the end is the end. Raises UserError for a span that holds nothing.
    """
    duration_s = recording.duration_s
    start_s = 0.0 if from_s is None else from_s
    if not 0 <= start_s <= duration_s:
        raise UserError(f"--from is {start_s:g}; the recording has 0 to {duration_s:.1f} seconds")
    if to_s is not None and not to_s > start_s:
        raise UserError(f"--to is {to_s:g}; it must be greater than --from, which is {start_s:g}")
    last_ns = recording.last_ns
    end_ns = last_ns if to_s is None else min(last_ns, recording.first_ns + round(to_s * _NS_PER_S))
    return Excerpt(recording, recording.first_ns + round(start_s * _NS_PER_S), end_ns, _created_ns(recording))


def _created_ns(recording: Recording) -> int:
    text = recording.meta.get("created_utc", "")
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{recording.path} is damaged: it was created at {text!r}; take a whole copy of it") from None
    zoned = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1000) * 1_000_000
