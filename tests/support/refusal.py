"""The one line with which a recording is refused."""

from pathlib import Path

import pytest

from workbench.errors import UserError
from workbench.recording.reader import Recording


def refusal(path: Path) -> str:
    """The one line that a file is refused with, when it is opened or when all of it is read."""
    with pytest.raises(UserError) as caught:
        read_all(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def read_all(path: Path) -> tuple[int, int]:
    """Read whatever there is. Returns the canvas's checksum and the number of samples."""
    with Recording.open(path) as recording:
        recording.tick_log(), recording.markers(), recording.turns()
        recording.diagnoses(), recording.scenario, recording.machine
        recording.reading_at(recording.last_ns)
        for _ in recording.frames():
            pass
        return recording.checksum(), len(recording.samples())
