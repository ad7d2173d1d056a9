"""Colours, letterings and the typeface file of the window, in two sets of the same names: dark, and light for
projectors. Nothing here draws.

The accents are Okabe and Ito's, told apart by the colour-blind, darker where they stand on white; no state is told by
colour alone. Sizes are in units: one unit is `scale` pixels (see `arrangement`). `use` changes the set that the names
of this module stand for, so they are looked up when something is drawn: whoever keeps a colour keeps the old one.
"""

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

Color = tuple[int, int, int]
Name = Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class Colors:
    """One set. Those that the panels have too are theirs to the digit: their picture lies here without a seam."""

    background: Color
    surface: Color
    line: Color
    text: Color
    dim: Color
    faint: Color
    """For marks and edges; too faint for letters."""
    orange: Color
    sky: Color
    green: Color
    vermilion: Color
    purple: Color
    silver: Color
    green_text: Color
    """Letters in green; on white the green of lines is too light for them."""
    purple_text: Color
    header: Color
    letterbox: Color
    """Around the canvas: told from an empty canvas, and calmer than a plot."""
    raised: Color
    track: Color
    """The part of a bar or a slider that is not filled."""
    alarm_surface: Color
    alarm_text: Color


DARK = Colors(
    background=(15, 17, 21),
    surface=(22, 25, 31),
    line=(44, 50, 60),
    text=(230, 233, 238),
    dim=(139, 149, 163),
    faint=(93, 102, 115),
    orange=(230, 159, 0),
    sky=(86, 180, 233),
    green=(0, 158, 115),
    vermilion=(213, 94, 0),
    purple=(204, 121, 167),
    silver=(195, 202, 212),
    green_text=(0, 158, 115),
    purple_text=(204, 121, 167),
    header=(18, 21, 26),
    letterbox=(18, 21, 26),
    raised=(28, 32, 40),
    track=(44, 50, 60),
    alarm_surface=(46, 21, 9),
    alarm_text=(255, 205, 170),
)
LIGHT = Colors(
    background=(244, 245, 247),
    surface=(255, 255, 255),
    line=(206, 211, 219),
    text=(24, 28, 34),
    dim=(84, 93, 106),
    faint=(140, 148, 160),
    orange=(164, 86, 0),
    sky=(11, 90, 158),
    green=(7, 154, 134),
    vermilion=(116, 31, 6),
    purple=(217, 87, 189),
    silver=(85, 92, 104),
    green_text=(4, 107, 93),
    purple_text=(158, 42, 134),
    header=(252, 252, 253),
    letterbox=(226, 229, 234),
    raised=(255, 255, 255),
    track=(216, 220, 227),
    alarm_surface=(255, 236, 224),
    alarm_text=(116, 31, 6),
)
SETS: dict[Name, Colors] = {"dark": DARK, "light": LIGHT}


@dataclass(frozen=True, slots=True)
class Lettering:
    """How a text looks: size in units, colour, weight."""

    size: int
    color: Color
    bold: bool = False


name: Name = "dark"
"""Of the set in use."""
BACKGROUND: Color
SURFACE: Color
LINE: Color
TEXT: Color
DIM: Color
FAINT: Color
ORANGE: Color
SKY: Color
GREEN: Color
VERMILION: Color
PURPLE: Color
SILVER: Color
GREEN_TEXT: Color
PURPLE_TEXT: Color
HEADER: Color
LETTERBOX: Color
RAISED: Color
TRACK: Color
ALARM_SURFACE: Color
ALARM_TEXT: Color
PRODUCT: Lettering
CAPTION: Lettering
TITLE: Lettering
BODY: Lettering
NOTE: Lettering
LABEL: Lettering
FIGURE: Lettering
FIGURE_SMALL: Lettering
STATUS: Lettering
STATUS_DIM: Lettering
KEY: Lettering
VALUE: Lettering
CARD: Lettering
SMALL: Lettering
SMALL_TEXT: Lettering
LINK: Lettering
ALARM: Lettering
ALARM_NAME: Lettering
WARNING: Lettering
WARNING_NAME: Lettering
GOOD_NAME: Lettering
WARNING_LINK: Lettering
TYPED: Lettering
DROPS: Lettering
STATE_COLORS: dict[str, Color]

_LETTERINGS: dict[str, tuple[int, str, bool]] = {
    "PRODUCT": (18, "TEXT", True),
    "CAPTION": (19, "TEXT", True),
    "TITLE": (15, "TEXT", True),
    "BODY": (13, "TEXT", False),
    "NOTE": (13, "DIM", False),
    "LABEL": (12, "DIM", False),
    "FIGURE": (20, "TEXT", True),
    "FIGURE_SMALL": (15, "TEXT", True),
    "STATUS": (12, "TEXT", False),
    "STATUS_DIM": (12, "DIM", False),
    "KEY": (12, "TEXT", True),
    "VALUE": (12, "TEXT", True),
    "CARD": (13, "TEXT", True),
    "SMALL": (11, "DIM", False),
    "SMALL_TEXT": (11, "TEXT", False),
    "LINK": (12, "SKY", False),
    "ALARM": (13, "ALARM_TEXT", False),
    "ALARM_NAME": (13, "VERMILION", True),
    "WARNING": (11, "ORANGE", False),
    "WARNING_NAME": (13, "ORANGE", True),
    "GOOD_NAME": (13, "GREEN_TEXT", True),
    "WARNING_LINK": (12, "ORANGE", False),
    "TYPED": (12, "SKY", True),
    "DROPS": (11, "PURPLE_TEXT", False),
}
_STATES = {
    "starting": "SKY",
    "compiling": "SKY",
    "connecting": "SKY",
    "running": "GREEN",
    "draining": "ORANGE",
    "stopped": "FAINT",
    "failed": "VERMILION",
}


def use(wanted: Name) -> None:
    """Have the names of this module stand for this set from now on. What is on a screen stays until drawn anew."""
    present = globals()
    present["name"] = wanted
    for field in fields(Colors):
        present[field.name.upper()] = getattr(SETS[wanted], field.name)
    for lettering, (size, color, bold) in _LETTERINGS.items():
        present[lettering] = Lettering(size, present[color], bold)
    present["STATE_COLORS"] = {state: present[color] for state, color in _STATES.items()}


def color(called: str) -> Color:
    """The present colour of a name: "SKY"."""
    found: Color = getattr(SETS[name], called.lower())
    return found


def typeface_path(bold: bool) -> Path:
    """The file of DejaVu Sans, which comes with matplotlib; found without the cost of importing it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("matplotlib, which brings the window's typeface, is not installed; install it by pip")
    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / file


use("dark")
