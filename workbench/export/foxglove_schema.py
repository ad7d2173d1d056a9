"""What the messages of an exported log are, as JSON Schema: two of Foxglove's own, and ours for figures and stages.

It holds no message. Invariant: names under "foxglove." have the fields that Foxglove's panels look for.
"""

from typing import Any

from workbench.recording.schema import SAMPLE_COLUMNS, STAGE_COLUMNS, STAGE_SAMPLE_COLUMNS

LOG_INFO, LOG_WARNING = 2, 3
"""Levels of a foxglove.Log."""

_TIME = {
    "type": "object",
    "title": "time",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
}
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}


def _record(title: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "description": description, "type": "object", "properties": properties}


IMAGE = _record(
    "foxglove.CompressedImage",
    "The canvas",
    {
        "timestamp": _TIME,
        "frame_id": _TEXT,
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": _TEXT,
    },
)
LOG = _record(
    "foxglove.Log",
    "Something that was done to the run, or what limits it from here on",
    {
        "timestamp": _TIME,
        "level": {"type": "integer"},
        "message": _TEXT,
        "name": _TEXT,
        "file": _TEXT,
        "line": {"type": "integer"},
    },
)
FIGURES = _record(
    "pixelcanvas.Figures",
    "The figures of a tenth of a second; what is not known is left out",
    dict.fromkeys(("time_s", *SAMPLE_COLUMNS), _NUMBER),
)
_STAGE = _record("pixelcanvas.Stage", "One stage", dict.fromkeys(STAGE_SAMPLE_COLUMNS, _NUMBER))
STAGES = _record(
    "pixelcanvas.Stages",
    "The figures of each stage; what is not known is left out",
    dict.fromkeys((*STAGE_COLUMNS, "viewers"), _STAGE),
)
