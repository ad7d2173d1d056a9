"""What `workbench export` does: one recording, in the format that the name of the target asks for.

It reads no command line. Everything that can be refused is refused before anything is written.
Invariant: under the target's name there is a whole file or what was there before, also after Ctrl-C.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import UserError
from workbench.export.animation import APNG, GIF, WEBP, AnimationFormat, require_animation, write_animation
from workbench.export.excerpt import Excerpt, excerpt_of
from workbench.export.package import require_package
from workbench.export.progress import ExportProgress
from workbench.export.table import TABLE_NAMES, require_table, row_count, table_of
from workbench.export.timelapse import Timelapse, timelapse_of
from workbench.output_file import require_outputs, talk_file
from workbench.recording.reader import Recording

_VIDEO_SIDE, _ANIMATION_SIDE = 1024, 512
_VIDEO_FPS, _ANIMATION_FPS, _LOG_FPS = 30, 20, 5


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What may be said about an export. None: as the format usually is."""

    table: str | None = None
    """Of the table formats: one of `table.TABLE_NAMES`; samples when None."""
    speed: float | None = None
    fps: float | None = None
    scale: int | None = None
    from_s: float | None = None
    to_s: float | None = None


class _Format(NamedTuple):
    """What is written for a suffix: `write` returns what it came to, for a person."""

    options: frozenset[str]
    """Of ExportOptions, beside the span."""
    write: Callable[[Excerpt, Path, ExportOptions, ExportProgress], str]
    package: str = ""


def export_recording(source: Path, target: Path, options: ExportOptions) -> int:
    """Write `source` as `target` and say what came of it. Returns the exit code.

    Raises UserError for what cannot be asked, or a recording that is not whole; RunError when the disk refuses.
    """
    chosen = _format_of(target)
    _require_options(target, chosen, options)
    require_outputs({"OUT": target}, [source])
    if chosen.package:
        require_package(chosen.package, target.suffix)
    try:
        with Recording.open(source) as recording, ExportProgress() as progress:
            excerpt = excerpt_of(recording, options.from_s, options.to_s)
            text = chosen.write(excerpt, target, options, progress)
    except KeyboardInterrupt:  # Only here: libraries that write in one go ask no question of ours meanwhile.
        text = "ended before it was written; nothing is changed"
    print(f"{target}: {text}", file=talk_file(target))
    return 0


def _format_of(target: Path) -> _Format:
    chosen = _FORMATS.get(target.suffix.lower())
    if chosen is None:
        raise UserError(f"OUT {str(target)!r} names no format; end it with one of {' '.join(_FORMATS)}")
    return chosen


def _require_options(target: Path, chosen: _Format, options: ExportOptions) -> None:
    """Refuse an option that this format has no use for."""
    for name in (field.name for field in fields(options)):
        if name in ("from_s", "to_s") or getattr(options, name) is None or name in chosen.options:
            continue
        fitting = " ".join(suffix for suffix, one in _FORMATS.items() if name in one.options)
        raise UserError(f"--{name} says nothing about a {target.suffix} file; leave it out, or write one of {fitting}")
    if options.table is not None:
        require_table(options.table)


# --- The formats ----------------------------------------------------------------------------------------------------


def _film(excerpt: Excerpt, options: ExportOptions, fps: float, side: int) -> Timelapse:
    return timelapse_of(excerpt, options.speed, options.fps, options.scale, usual_fps=fps, usual_side=side)


def _export_video(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.video import VideoWriter

    film = _film(excerpt, options, _VIDEO_FPS, _VIDEO_SIDE)
    palette = excerpt.recording.colors
    with VideoWriter(target, film.size, film.fps) as video:
        for picture in progress.each(film.pictures(), "pictures", film.picture_count):
            video.write(palette[picture])
    return film.text()


def _export_animation(kind: AnimationFormat) -> Callable[[Excerpt, Path, ExportOptions, ExportProgress], str]:
    def export(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
        film = _film(excerpt, options, _ANIMATION_FPS, _ANIMATION_SIDE)
        require_animation(film, kind)

        def pictures() -> Iterator[Any]:
            yield from progress.each(film.pictures(), "pictures", film.picture_count)
            progress.begin(f"writing {kind.name}")

        write_animation(target, kind, film, pictures(), excerpt.recording.colors)
        return film.text()

    return export


def _export_parquet(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.parquet import write_parquet

    with _table(excerpt, options, progress) as (table, text):
        write_parquet(target, table, excerpt.recording.meta)
    return text


def _export_csv(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.comma_separated import write_csv

    with _table(excerpt, options, progress) as (table, text):
        write_csv(target, table)
    return text


def _export_mcap(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.foxglove import messages_of, write_mcap

    film = timelapse_of(excerpt, 1.0, options.fps, 1, usual_fps=_LOG_FPS, usual_side=1)
    canvases = progress.each(film.canvases(), "log", film.picture_count)
    count = write_mcap(target, excerpt, messages_of(film, canvases))
    return f"{count} messages of {excerpt.duration_s:.1f} s"


def _export_exposition(excerpt: Excerpt, target: Path, options: ExportOptions, progress: ExportProgress) -> str:
    from workbench.export.exposition import write_exposition

    return f"{write_exposition(target, excerpt)} figures, as they were at the end"


@contextmanager
def _table(excerpt: Excerpt, options: ExportOptions, progress: ExportProgress) -> Iterator[tuple[Any, str]]:
    name = options.table or TABLE_NAMES[0]
    progress.begin(name)
    table = table_of(excerpt, name)
    yield table, f"{row_count(table)} rows of {name}, {len(table)} columns"


_PICTURES = frozenset({"speed", "fps", "scale"})
_FORMATS = {
    ".mp4": _Format(_PICTURES, _export_video, "imageio_ffmpeg"),
    ".gif": _Format(_PICTURES, _export_animation(GIF)),
    ".webp": _Format(_PICTURES, _export_animation(WEBP)),
    ".apng": _Format(_PICTURES, _export_animation(APNG)),
    ".parquet": _Format(frozenset({"table"}), _export_parquet, "pyarrow"),
    ".csv": _Format(frozenset({"table"}), _export_csv),
    ".mcap": _Format(frozenset({"fps"}), _export_mcap, "mcap"),
    ".prom": _Format(frozenset(), _export_exposition),
}
