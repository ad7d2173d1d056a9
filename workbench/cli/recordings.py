"""The commands that take a recording: they read words, and hand them to the modules that do what is asked.

Nothing is decided or opened here, and nothing heavy is imported before a command needs it. Invariant: each names
its recording first.
"""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.option import Command, number, whole

recording_app = typer.Typer(rich_markup_mode=None)


@recording_app.command(cls=Command, epilog="Example: workbench replay night.pxr --from 60 --to 90")
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, made with 'run --record FILE'.")],
    from_: Annotated[
        float | None,
        number("S", "Begin so long after its beginning.", "--from"),
    ] = None,
    to: Annotated[float | None, number("S", "End so long after its beginning.")] = None,
    screenshot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Save the window's picture of the end instead; needs no display."),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mp4", help="Film the window from begin to end instead; needs no display."),
    ] = None,
) -> int:
    """Show a recording in the window: play, wind, look closer."""
    from workbench.replay.command import replay_recording

    code, wanted = replay_recording(file, from_s=from_, to_s=to, screenshot=screenshot, video=video)
    if wanted is None:
        return code
    from workbench.run.command import run_scenario
    from workbench.run.show import Outputs

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
            help="What to write, by its ending: .mp4 .gif .webp .apng the canvas; .parquet .csv a table; .mcap a log "
            "for Foxglove; .prom the last figures.",
        ),
    ],
    table: Annotated[
        str | None,
        typer.Option(metavar="samples|ticks|stages|markers", help="Which table. Default: samples."),
    ] = None,
    speed: Annotated[
        float | None, number("X", "So many times faster than it was. Default: to last 20 s at most.")
    ] = None,
    fps: Annotated[float | None, number("N", "Pictures a second. Default: 30 in .mp4, 5 in .mcap, else 20.")] = None,
    scale: Annotated[
        int | None, whole("N", "Enlarge each pixel so many times. Default: to fill 1024 pixels in .mp4, else 512.")
    ] = None,
    from_: Annotated[
        float | None,
        number("S", "Begin so long after its beginning.", "--from"),
    ] = None,
    to: Annotated[float | None, number("S", "End so long after its beginning.")] = None,
) -> int:
    """Write a recording in the format of another program."""
    from workbench.export.command import ExportOptions, export_recording

    return export_recording(file, out, ExportOptions(table, speed, fps, scale, from_, to))
