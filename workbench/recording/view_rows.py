"""What a view shows beside samples as rows of a recording's tables, and back: readings, markers, turns, diagnoses.

It opens no file. Invariant: what is read back is what was written; what is not known is NULL there and None here, and
what an earlier version did not write is None or empty.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from server.journal.schema import MARKERS
from workbench.recording.schema import DIAGNOSES, READING_COLUMNS, READINGS, TURNS
from workbench.telemetry.view import Diagnosis, Marker, Reading, Turn

DIAGNOSIS_COLUMNS = ("number", "bottleneck", "sentence", "runner_up", "headroom_ratio", "explanation")
_WHOLE = ("_count", "_gap", "_bytes")
"""Figures with such names are whole numbers."""


def reading_row(number: int, reading: Reading) -> tuple[Any, ...]:
    """A row of `readings`: what a sample does not hold."""
    figures = (getattr(reading, name) for name in READING_COLUMNS)
    return READINGS.row(number, *figures, json.dumps(reading.loop_connection_counts))


def reading_of(row: Sequence[Any]) -> Reading:
    """From the values of READING_COLUMNS and the connections of each loop. Raises ValueError or TypeError for others.

    What it does not hold is as in a reading that knows nothing.
    """
    *figures, loops = row
    known: dict[str, Any] = {
        name: int(value) if name.endswith(_WHOLE) else value
        for name, value in zip(READING_COLUMNS, figures, strict=True)
        if value is not None
    }
    return Reading(**known, loop_connection_counts=tuple(json.loads(loops)))


def marker_row(marker: Marker) -> tuple[Any, ...]:
    """A row of `markers`."""
    return MARKERS.row(marker.time_ns, marker.kind, marker.text)


def turn_row(turn: Turn) -> tuple[Any, ...]:
    """A row of `turns`."""
    return TURNS.row(turn.time_ns, msgspec.json.encode(turn.changes).decode())


def turn_of(row: Sequence[Any]) -> Turn:
    """From a row of `turns`. Raises ValueError or TypeError for others."""
    time_ns, changes = row
    return Turn(time_ns, msgspec.json.decode(changes, type=dict[str, Any]))


def diagnosis_row(number: int, diagnosis: Diagnosis) -> tuple[Any, ...]:
    """A row of `diagnoses`: what limited the run from sample `number` on."""
    return DIAGNOSES.row(
        number,
        diagnosis.bottleneck,
        diagnosis.sentence,
        diagnosis.runner_up,
        diagnosis.headroom_ratio,
        json.dumps(diagnosis.explanation, ensure_ascii=False),
    )


def diagnosis_of(row: Sequence[Any]) -> Diagnosis:
    """From the values of DIAGNOSIS_COLUMNS behind the number. Raises ValueError or TypeError for others."""
    bottleneck, sentence, runner_up, headroom_ratio, explanation = row
    lines = tuple(json.loads(explanation)) if explanation is not None else ()
    return Diagnosis(bottleneck, sentence, runner_up or "", headroom_ratio, lines)
