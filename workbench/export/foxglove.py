"""An excerpt as an MCAP log for Foxglove: canvas, metrics, stages, events and diagnoses.

    TOPIC       SCHEMA                     A MESSAGE
    /canvas     foxglove.CompressedImage   the canvas as PNG, where it changed
    /figures    pixelcanvas.Figures        a sample, ten per second
    /stages     pixelcanvas.Stages         the stages at that sample
    /markers    foxglove.Log               an event of the run
    /diagnosis  foxglove.Log               the bottleneck from here on

Messages are in the order of their times, which are UTC, so that the log can be combined with others. The names under
"foxglove." have the fields that Foxglove's panels expect.
"""

import base64
import heapq
import math
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray
from PIL import Image

from workbench.export.excerpt import Excerpt
from workbench.export.timelapse import Timelapse
from workbench.output_file import whole_file
from workbench.recording.schema import SAMPLE_COLUMNS, STAGE_COLUMNS, STAGE_SAMPLE_COLUMNS

# Levels of a foxglove.Log.
LOG_INFO, LOG_WARNING = 2, 3

_TEXT, _NUMBER, _INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_NANOSECONDS = {**_INTEGER, "minimum": 0, "maximum": 999_999_999}
_TIME = {"type": "object", "title": "time", "properties": {"sec": {**_INTEGER, "minimum": 0}, "nsec": _NANOSECONDS}}
_DATA = {"type": "string", "contentEncoding": "base64"}


def _record(title: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "description": description, "type": "object", "properties": properties}


IMAGE = _record(
    "foxglove.CompressedImage", "The canvas", {"timestamp": _TIME, "frame_id": _TEXT, "data": _DATA, "format": _TEXT}
)
LOG = _record(
    "foxglove.Log",
    "An event of the run, or its bottleneck from here on",
    {"timestamp": _TIME, "level": _INTEGER, "message": _TEXT, "name": _TEXT, "file": _TEXT, "line": _INTEGER},
)
FIGURES = _record(
    "pixelcanvas.Figures",
    "The metrics of a tenth of a second; unknown ones are left out",
    dict.fromkeys(("time_s", *SAMPLE_COLUMNS), _NUMBER),
)
_STAGE = _record("pixelcanvas.Stage", "One stage", dict.fromkeys(STAGE_SAMPLE_COLUMNS, _NUMBER))
STAGES = _record(
    "pixelcanvas.Stages",
    "The metrics of each stage; unknown ones are left out",
    dict.fromkeys((*STAGE_COLUMNS, "viewers"), _STAGE),
)

_NS_PER_S = 1_000_000_000
_TOPICS = {"/canvas": IMAGE, "/figures": FIGURES, "/stages": STAGES, "/markers": LOG, "/diagnosis": LOG}
_FRAME_ID = "canvas"


class Message(NamedTuple):
    """One message of the log."""

    time_ns: int
    """On the run's clock."""
    topic: str
    content: dict[str, Any]


def messages_of(timelapse: Timelapse, canvases: Iterable[tuple[int, NDArray[np.uint8]]]) -> Iterator[Message]:
    """All messages of the timelapse's excerpt by time, including its `canvases`."""
    excerpt = timelapse.excerpt
    sources = (
        _canvas_messages(excerpt, canvases),
        _figure_messages(excerpt),
        _stage_messages(excerpt),
        _marker_messages(excerpt),
        _diagnosis_messages(excerpt),
    )
    # Merged as they are read: all canvases at once would not fit into memory.
    return heapq.merge(*sources, key=lambda message: message.time_ns)


def write_mcap(path: Path, excerpt: Excerpt, messages: Iterable[Message]) -> int:
    """Write the messages, and the recording's scenario and metadata. Returns how many messages. Raises RunError."""
    count = 0
    with whole_file(path) as target, target.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="", library="pixel-canvas-workbench")
        channels = {}
        for topic, schema in _TOPICS.items():
            schema_id = writer.register_schema(schema["title"], "jsonschema", msgspec.json.encode(schema))
            channels[topic] = writer.register_channel(topic, "json", schema_id)
        _write_facts(writer, excerpt)
        for message in messages:
            time_ns = excerpt.utc_ns(message.time_ns)
            data = msgspec.json.encode(message.content)
            writer.add_message(channels[message.topic], time_ns, data, time_ns)
            count += 1
        writer.finish()  # type: ignore[no-untyped-call]
    return count


# --- Inside ---


def _write_facts(writer: Writer, excerpt: Excerpt) -> None:
    """Write the scenario as an attachment, and the other facts except the palette as metadata."""
    facts = dict(excerpt.recording.meta)
    scenario = facts.pop("scenario", "")
    facts.pop("palette", None)
    created_ns = excerpt.created_ns
    writer.add_attachment(created_ns, created_ns, "scenario.toml", "application/toml", scenario.encode())
    writer.add_metadata("pixelcanvas.recording", facts)


def _timestamp(excerpt: Excerpt, time_ns: int) -> dict[str, int]:
    seconds, rest = divmod(excerpt.utc_ns(time_ns), _NS_PER_S)
    return {"sec": seconds, "nsec": rest}


def _canvas_messages(excerpt: Excerpt, canvases: Iterable[tuple[int, NDArray[np.uint8]]]) -> Iterator[Message]:
    palette = excerpt.recording.colors.tobytes()
    # The timelapse reuses its array, so that a copy is needed to see whether it changed.
    shown: NDArray[np.uint8] | None = None
    for time_ns, canvas in canvases:
        if shown is not None and np.array_equal(shown, canvas):
            continue
        shown = canvas.copy()
        content = {"timestamp": _timestamp(excerpt, time_ns), "frame_id": _FRAME_ID}
        yield Message(time_ns, "/canvas", {**content, "data": _png(shown, palette), "format": "png"})


def _png(canvas: NDArray[np.uint8], palette: bytes) -> str:
    image = Image.fromarray(canvas, "L")
    image.putpalette(palette)
    file = BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _known(names: tuple[str, ...], row: Any) -> dict[str, float]:
    figures = ((name, float(row[name])) for name in names)
    return {name: figure for name, figure in figures if math.isfinite(figure)}


def _figure_messages(excerpt: Excerpt) -> Iterator[Message]:
    for row in excerpt.recording.samples(excerpt.after_ns, excerpt.to_ns):
        time_ns = int(row["time_ns"])
        time_s = (time_ns - excerpt.recording.first_ns) / _NS_PER_S
        yield Message(time_ns, "/figures", {"time_s": time_s, **_known(SAMPLE_COLUMNS, row)})


def _stage_messages(excerpt: Excerpt) -> Iterator[Message]:
    rows = excerpt.recording.stage_samples(excerpt.after_ns, excerpt.to_ns)
    for _, stages in groupby(rows, key=lambda row: row["number"]):
        at_once = list(stages)
        content = {str(row["stage"]).replace("-", "_"): _known(STAGE_SAMPLE_COLUMNS, row) for row in at_once}
        yield Message(int(at_once[0]["time_ns"]), "/stages", content)


def _marker_messages(excerpt: Excerpt) -> Iterator[Message]:
    for one in excerpt.recording.markers():
        yield from _log(excerpt, one.time_ns, "/markers", one.kind, one.text, is_warning=one.kind == "fault")


def _diagnosis_messages(excerpt: Excerpt) -> Iterator[Message]:
    for one in excerpt.recording.diagnoses():
        is_warning = one.bottleneck != "none"
        yield from _log(excerpt, one.time_ns, "/diagnosis", one.bottleneck, one.sentence, is_warning=is_warning)


def _log(excerpt: Excerpt, time_ns: int, topic: str, name: str, text: str, *, is_warning: bool) -> Iterator[Message]:
    """A message if its time is in the excerpt."""
    if excerpt.holds(time_ns):
        level = LOG_WARNING if is_warning else LOG_INFO
        content = {"timestamp": _timestamp(excerpt, time_ns), "level": level, "message": text, "name": name}
        yield Message(time_ns, topic, {**content, "file": "", "line": 0})
