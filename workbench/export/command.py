"""`workbench export`: one recording in the format that the target's suffix names.

Everything is checked before anything is written. The target is a complete file or unchanged, also after Ctrl-C.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import UserError
from workbench.export.excerpt import Excerpt, excerpt_of
from workbench.export.progress import ExportProgress, export_progress
from workbench.export.tables import TABLE_NAMES, Table, require_table, row_count, table_of, write_csv, write_parquet
from workbench.export.timelapse import (
    APNG,
    GIF,
    WEBP,
    AnimationFormat,
    Timelapse,
    require_animation,
    timelapse_of,
    write_animation,
)
from workbench.output_file import require_outputs, require_package, talk_file
from workbench.recording.reader import Recording

_VIDEO_SIDE, _ANIMATION_SIDE = 1024, 512
_VIDEO_FPS, _ANIMATION_FPS, _LOG_FPS = 30, 20, 5


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export. None: the default of the format."""

    table: str | None = None
    """For the table formats: one of `tables.TABLE_NAMES`; samples when None."""
    speed: float | None = None
    fps: float | None = None
    scale: int | None = None
    from_s: float | None = None
    to_s: float | None = None


_Write = Callable[[Excerpt, Path, ExportOptions, ExportProgress], str]
"""Writes a file and returns a summary in one line."""


class _Format(NamedTuple):
    """A suffix."""

    options: frozenset[str]
    """Fields of ExportOptions that apply, besides the span."""
    write: _Write
    package: str = ""


def export_recording(source: Path, target: Path, options: ExportOptions) -> int:
    """Write `source` as `target` and print a summary. Returns the exit code.

    Raises UserError for invalid options or a damaged recording, RunError when the disk fails.
    """
    chosen = _format_of(target)
    _require_options(target, chosen, options)
    require_outputs({"OUT": target}, [source])
    if chosen.package:
        require_package(chosen.package, target.suffix)
    try:
        with Recording.open(source) as recording, export_progress() as progress:
            excerpt = excerpt_of(recording, options.from_s, options.to_s)
            text = chosen.write(excerpt, target, options, progress)
    except KeyboardInterrupt:
        # The only such place: a library that writes a file in one call cannot be asked to stop.
        text = "interrupted before it was complete; unchanged"
    print(f"{target}: {text}", file=talk_file(target))
    return 0


def _format_of(target: Path) -> _Format:
    chosen = _FORMATS.get(target.suffix.lower())
    if chosen is None:
        raise UserError(f"OUT {str(target)!r} has no known suffix; use one of {' '.join(_FORMATS)}")
    return chosen


def _require_options(target: Path, chosen: _Format, options: ExportOptions) -> None:
    """Raise UserError for an option that this format does not use."""
    for name in (field.name for field in fields(options)):
        if name in ("from_s", "to_s") or getattr(options, name) is None or name in chosen.options:
            continue
        fitting = " ".join(suffix for suffix, one in _FORMATS.items() if name in one.options)
        raise UserError(f"--{name} does not apply to {target.suffix} files; omit it, or write one of {fitting}")
    if options.table is not None:
        require_table(options.table)


# --- The formats ---


def _timelapse(excerpt: Excerpt, options: ExportOptions, fps: float, side: int) -> Timelapse:
    return timelapse_of(excerpt, options.speed, options.fps, options.scale, usual_fps=fps, usual_side=side)


def _export_video(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.video import open_video

    timelapse = _timelapse(excerpt, options, _VIDEO_FPS, _VIDEO_SIDE)
    palette = excerpt.recording.colors
    with open_video(target, timelapse.size, timelapse.fps) as video:
        for picture in progress.each(timelapse.pictures(), "pictures", timelapse.picture_count):
            video.write(palette[picture])
    return timelapse.text()


def _export_animation(kind: AnimationFormat) -> _Write:
    def export(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
        timelapse = _timelapse(excerpt, options, _ANIMATION_FPS, _ANIMATION_SIDE)
        require_animation(timelapse, kind)

        def pictures() -> Iterator[Any]:
            yield from progress.each(timelapse.pictures(), "pictures", timelapse.picture_count)
            # Pillow writes the file only after the last picture.
            progress.begin(f"writing {kind.name}")

        write_animation(target, kind, timelapse, pictures(), excerpt.recording.colors)
        return timelapse.text()

    return export


def _export_table(write: Callable[[Path, Table, Mapping[str, str]], None]) -> _Write:
    def export(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
        name = options.table or TABLE_NAMES[0]
        progress.begin(name)
        table = table_of(excerpt, name)
        write(target, table, excerpt.recording.meta)
        return f"{row_count(table)} rows of {name}, {len(table)} columns"

    return export


def _export_mcap(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.foxglove import messages_of, write_mcap

    timelapse = timelapse_of(excerpt, 1.0, options.fps, 1, usual_fps=_LOG_FPS, usual_side=1)
    canvases = progress.each(timelapse.canvases(), "log", timelapse.picture_count)
    count = write_mcap(target, excerpt, messages_of(timelapse, canvases))
    return f"{count} messages of {excerpt.duration_s:.1f} s"


def _export_exposition(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.exposition import write_exposition

    return f"{write_exposition(target, excerpt)} metrics, as of the end of the span"


_PICTURES = frozenset({"speed", "fps", "scale"})
_FORMATS = {
    ".mp4": _Format(_PICTURES, _export_video, "imageio_ffmpeg"),
    ".gif": _Format(_PICTURES, _export_animation(GIF)),
    ".webp": _Format(_PICTURES, _export_animation(WEBP)),
    ".apng": _Format(_PICTURES, _export_animation(APNG)),
    ".parquet": _Format(frozenset({"table"}), _export_table(write_parquet), "pyarrow"),
    ".csv": _Format(frozenset({"table"}), _export_table(write_csv)),
    ".mcap": _Format(frozenset({"fps"}), _export_mcap, "mcap"),
    ".prom": _Format(frozenset(), _export_exposition),
}
