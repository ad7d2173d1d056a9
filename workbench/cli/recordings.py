"""The commands that take a recording. They only parse options; heavy modules are imported when a command needs them."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.option import Command, number, text, whole

recording_app = typer.Typer(rich_markup_mode=None)


@recording_app.command(cls=Command, epilog="Example: workbench replay night.pxr --from 60 --to 90")
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, made with 'run --record FILE'.")],
    from_: Annotated[float | None, number("S", "Start at S seconds.", "--from")] = None,
    to: Annotated[float | None, number("S", "End at S seconds.")] = None,
    screenshot: Annotated[
        Path | None, text("FILE.png", "Save a picture of the window at the end instead; needs no display.")
    ] = None,
    video: Annotated[Path | None, text("FILE.mp4", "Render the window to a video instead; needs no display.")] = None,
) -> int:
    """Open a recording in the window."""
    from workbench.replay.command import replay_recording

    code, wanted = replay_recording(file, from_s=from_, to_s=to, screenshot=screenshot, video=video)
    if wanted is None:
        return code
    from workbench.run.show import Outputs, run_scenario

    return run_scenario(wanted, Outputs(headless=False))


@recording_app.command(
    cls=Command, epilog="Example: workbench export monday.pxr monday.mp4 --from 10 --to 70 --speed 5"
)
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Its suffix selects the format: .mp4 .gif .webp .apng the canvas; .parquet .csv a table; .mcap a log "
            "for Foxglove; .prom the last figures.",
        ),
    ],
    table: Annotated[str | None, text("samples|ticks|stages|markers", "The table. Default: samples.")] = None,
    speed: Annotated[float | None, number("X", "Playback speed factor. Default: 20 s at most.")] = None,
    fps: Annotated[float | None, number("N", "Frames per second. Default: 30 in .mp4, 5 in .mcap, else 20.")] = None,
    scale: Annotated[
        int | None, whole("N", "Scale factor per pixel. Default: to fill 1024 pixels in .mp4, else 512.")
    ] = None,
    from_: Annotated[float | None, number("S", "Start at S seconds.", "--from")] = None,
    to: Annotated[float | None, number("S", "End at S seconds.")] = None,
) -> int:
    """Convert a recording to another format."""
    from workbench.export.command import ExportOptions, export_recording

    return export_recording(file, out, ExportOptions(table, speed, fps, scale, from_, to))
