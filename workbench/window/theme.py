"""Colours, letterings and the typeface file of the window. Nothing here draws.

The accents are Okabe and Ito's, told apart by the colour-blind; no state is told by colour alone. Sizes are in units:
one unit is `scale` pixels (see `arrangement`).
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

Color = tuple[int, int, int]

# Those that the panels have too are theirs to the digit (plots/style.py, which brings matplotlib and so stays out):
# the panels' picture lies on the window without a seam.
BACKGROUND: Color = (15, 17, 21)
SURFACE: Color = (22, 25, 31)
LINE: Color = (44, 50, 60)
TEXT: Color = (230, 233, 238)
DIM: Color = (139, 149, 163)
FAINT: Color = (93, 102, 115)
ORANGE: Color = (230, 159, 0)
SKY: Color = (86, 180, 233)
GREEN: Color = (0, 158, 115)
VERMILION: Color = (213, 94, 0)
PURPLE: Color = (204, 121, 167)
SILVER: Color = (195, 202, 212)

HEADER: Color = (18, 21, 26)
LETTERBOX: Color = HEADER
"""Around the canvas: lighter than an empty canvas, so that the canvas's edge is seen, and calmer than a plot."""
RAISED: Color = (28, 32, 40)
ALARM_SURFACE: Color = (46, 21, 9)
ALARM_TEXT: Color = (255, 205, 170)


@dataclass(frozen=True, slots=True)
class Lettering:
    """How a text looks: size in units, colour, weight."""

    size: int
    color: Color
    bold: bool = False


PRODUCT = Lettering(18, TEXT, bold=True)
TITLE = Lettering(15, TEXT, bold=True)
BODY = Lettering(13, TEXT)
NOTE = Lettering(13, DIM)
LABEL = Lettering(12, DIM)
FIGURE = Lettering(20, TEXT, bold=True)
STATUS = Lettering(12, TEXT)
STATUS_DIM = Lettering(12, DIM)
KEY = Lettering(12, TEXT, bold=True)
ALARM = Lettering(13, ALARM_TEXT)
ALARM_NAME = Lettering(13, VERMILION, bold=True)

STATE_COLORS: dict[str, Color] = {
    "starting": SKY,
    "compiling": SKY,
    "connecting": SKY,
    "running": GREEN,
    "draining": ORANGE,
    "stopped": FAINT,
    "failed": VERMILION,
}


def typeface_path(bold: bool) -> Path:
    """The file of DejaVu Sans, which comes with matplotlib; found without the cost of importing it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("matplotlib, which brings the window's typeface, is not installed; install it by pip")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
