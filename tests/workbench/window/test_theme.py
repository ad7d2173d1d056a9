"""Both sets of colours: legible, of the same names, and switched without a rest of the other."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from support.window_stage import FakeSession, headless, heat_map, rgb
from workbench.window.toolkit import theme
from workbench.window.toolkit.keys import Action

ROOT = Path(__file__).parents[3]
CONTRAST_MIN = 4.5
GROUNDS = ("background", "surface", "header", "raised")


@pytest.fixture(autouse=True)
def dark_again() -> Iterator[None]:
    yield
    theme.use("dark")


def luminance(color: theme.Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: theme.Color, second: theme.Color) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_letters_stand_out_from_every_ground(name: theme.Name) -> None:
    colors = theme.SETS[name]
    for letters in ("text", "dim"):
        for ground in GROUNDS:
            assert contrast(getattr(colors, letters), getattr(colors, ground)) >= CONTRAST_MIN, (letters, ground)
    for letters in ("green_text", "purple_text", "vermilion", "orange", "sky"):
        for ground in ("background", "surface"):
            assert contrast(getattr(colors, letters), getattr(colors, ground)) >= CONTRAST_MIN, (letters, ground)
    assert contrast(colors.alarm_text, colors.alarm_surface) >= CONTRAST_MIN


@pytest.mark.parametrize("name", ["dark", "light"])
def test_every_lettering_is_in_the_colours_in_use(name: theme.Name) -> None:
    theme.use(name)
    colors = {getattr(theme.SETS[name], field.name) for field in fields(theme.Colors)}
    letterings = [value for value in vars(theme).values() if isinstance(value, theme.Lettering)]
    assert len(letterings) > 15
    assert all(lettering.color in colors for lettering in letterings)
    assert set(theme.STATE_COLORS.values()) <= colors
    assert theme.color("SKY") == theme.SKY == theme.SETS[name].sky


def test_a_switch_leaves_nothing_of_the_other_set() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session, (1280, 720))
    first = rgb(window.draw())
    assert window.press(Action.THEME, 0)
    switched = rgb(window.draw())
    assert np.array_equal(switched, rgb(headless(FakeSession(heat_map(64, 64)), (1280, 720)).draw()))
    assert not np.array_equal(switched, first)
    window.press(Action.THEME, 0)
    assert np.array_equal(rgb(window.draw()), first)


def test_the_panels_are_told_the_set() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    window.use_theme("light")
    ((kind, order),) = session.asked
    assert kind == "show_panels" and order.theme == "light"


def test_no_module_keeps_a_colour() -> None:
    """A name of the theme that is looked up while a module is imported would stay what it was then."""
    kept = []
    for path in sorted((ROOT / "workbench" / "window").glob("*.py")):
        for node in early(ast.parse(path.read_text(encoding="utf-8"))):
            of_theme = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "theme"
            if of_theme and node.attr.isupper() and node.attr not in ("DARK", "LIGHT", "SETS"):
                kept.append(f"{path.name}:{node.lineno} theme.{node.attr}")
    assert kept == []


def early(node: ast.AST) -> Iterator[ast.AST]:
    """What is evaluated while a module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for default in (*child.args.defaults, *child.args.kw_defaults):
                if default is not None:
                    yield from (default, *early(default))
        elif not isinstance(child, ast.Lambda):
            yield child
            yield from early(child)
