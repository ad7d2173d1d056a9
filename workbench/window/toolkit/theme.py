"""The colours, letterings and typeface of the window. There are two themes: dark, and light for projectors.

A `Theme` is immutable and travels with the `Painter`. A `Lettering` names its colour, so it is the same in both themes.
No state is shown by colour alone. Sizes are in units: one unit is `scale` pixels (see `arrangement`).
"""

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import plots.style
from plots.style import Theme as Style
from plots.style import rgb

Color = tuple[int, int, int]
Name = Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours by their roles. Those that the panels use too come from their table, so that no seam shows."""

    name: Name
    background: Color
    surface: Color
    line: Color
    text: Color
    dim: Color
    faint: Color
    """For marks and edges; too faint for text."""
    orange: Color
    sky: Color
    green: Color
    vermilion: Color
    purple: Color
    silver: Color
    green_text: Color
    """Green text: on white, the green of lines is too light for it."""
    purple_text: Color
    header: Color
    letterbox: Color
    """Around the canvas: distinct from an empty canvas, and calmer than a plot."""
    raised: Color
    track: Color
    """The part of a bar or a slider that is not filled."""
    alarm_surface: Color
    alarm_text: Color

    def color(self, role: str) -> Color:
        """The colour of a role, such as "sky"."""
        found: Color = getattr(self, role)
        return found

    @property
    def other(self) -> "Theme":
        """The theme to switch to."""
        return LIGHT if self.name == "dark" else DARK


# Roles of the window that have another name in `plots.style`; the others have the same.
_STYLE_NAMES = {
    "background": "page", "surface": "plot", "line": "edge", "dim": "text_muted", "faint": "text_faint",
}  # fmt: skip


def _theme(name: Name, style: Style, **own: Color) -> Theme:
    """A theme with the colours of `style`, and those that only the window has."""
    shared = {role: rgb(getattr(style, _STYLE_NAMES.get(role, role))) for role in ROLES if role not in own}
    return Theme(name=name, **shared, **own)


ROLES = tuple(field.name for field in fields(Theme) if field.name != "name")
DARK = _theme(
    "dark",
    plots.style.DARK,
    header=rgb(plots.style.DARK.letterbox),
    raised=(28, 32, 40),
    track=rgb(plots.style.DARK.edge),
    alarm_surface=(46, 21, 9),
    alarm_text=(255, 205, 170),
)
LIGHT = _theme(
    "light",
    plots.style.LIGHT,
    header=(252, 252, 253),
    raised=rgb(plots.style.LIGHT.plot),
    track=(216, 220, 227),
    alarm_surface=(255, 236, 224),
    alarm_text=rgb(plots.style.LIGHT.vermilion),
)
THEMES: dict[Name, Theme] = {"dark": DARK, "light": LIGHT}


@dataclass(frozen=True, slots=True)
class Lettering:
    """How a text looks: size in units, the role of its colour, and weight."""

    size: int
    role: str
    bold: bool = False

    def __post_init__(self) -> None:
        assert self.role in ROLES, self.role


PRODUCT = Lettering(18, "text", bold=True)
CAPTION = Lettering(19, "text", bold=True)
TITLE = Lettering(15, "text", bold=True)
BODY = Lettering(13, "text")
NOTE = Lettering(13, "dim")
LABEL = Lettering(12, "dim")
FIGURE = Lettering(20, "text", bold=True)
FIGURE_SMALL = Lettering(15, "text", bold=True)
STATUS = Lettering(12, "text")
STATUS_DIM = Lettering(12, "dim")
KEY = Lettering(12, "text", bold=True)
VALUE = Lettering(12, "text", bold=True)
CARD = Lettering(13, "text", bold=True)
SMALL = Lettering(11, "dim")
SMALL_TEXT = Lettering(11, "text")
LINK = Lettering(12, "sky")
ALARM = Lettering(13, "alarm_text")
ALARM_NAME = Lettering(13, "vermilion", bold=True)
WARNING = Lettering(11, "orange")
WARNING_NAME = Lettering(13, "orange", bold=True)
GOOD_NAME = Lettering(13, "green_text", bold=True)
WARNING_LINK = Lettering(12, "orange")
TYPED = Lettering(12, "sky", bold=True)
DROPS = Lettering(11, "purple_text")

# The colour of a process by its state.
STATE_ROLES = {
    "starting": "sky",
    "compiling": "sky",
    "connecting": "sky",
    "running": "green",
    "draining": "orange",
    "stopped": "faint",
    "failed": "vermilion",
}


def typeface_path(bold: bool) -> Path:
    """The file of DejaVu Sans, which matplotlib brings; found without the cost of importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("matplotlib, which brings the window's typeface, is not installed; install it with pip")
    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / file
