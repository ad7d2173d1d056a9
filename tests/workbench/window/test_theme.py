"""Both themes: legible, and switched without a trace of the other."""

from dataclasses import fields

import numpy as np
import pytest

from support.window_stage import FakeSession, headless, heat_map, rgb
from workbench.window.toolkit import theme
from workbench.window.toolkit.keys import Action

CONTRAST_MIN = 4.5
GROUNDS = ("background", "surface", "header", "raised")


def luminance(color: theme.Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: theme.Color, second: theme.Color) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_text_has_contrast_on_every_background(name: theme.Name) -> None:
    colors = theme.THEMES[name]
    for letters in ("text", "dim"):
        for ground in GROUNDS:
            assert contrast(getattr(colors, letters), getattr(colors, ground)) >= CONTRAST_MIN, (letters, ground)
    for letters in ("green_text", "purple_text", "vermilion", "orange", "sky"):
        for ground in ("background", "surface"):
            assert contrast(getattr(colors, letters), getattr(colors, ground)) >= CONTRAST_MIN, (letters, ground)
    assert contrast(colors.alarm_text, colors.alarm_surface) >= CONTRAST_MIN


def test_every_lettering_has_a_role_of_the_theme() -> None:
    letterings = [value for value in vars(theme).values() if isinstance(value, theme.Lettering)]
    assert len(letterings) > 15
    roles = {field.name for field in fields(theme.Theme)} - {"name"}
    assert {lettering.role for lettering in letterings} | set(theme.STATE_ROLES.values()) <= roles
    with pytest.raises(AssertionError):
        theme.Lettering(12, "name")


def test_a_switch_leaves_nothing_of_the_other_theme(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session, (1280, 720))
    first = rgb(window.draw())
    assert window.press(Action.THEME, 0)
    switched = rgb(window.draw())
    assert not np.array_equal(switched, first)
    window.press(Action.THEME, 0)
    assert np.array_equal(rgb(window.draw()), first)
    monkeypatch.setattr("workbench.window.shell.layout.DARK", theme.LIGHT)  # A window that is light from the start.
    assert np.array_equal(switched, rgb(headless(FakeSession(heat_map(64, 64)), (1280, 720)).draw()))


def test_the_panels_get_the_theme() -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    window.use_theme("light")
    ((kind, order),) = session.asked
    assert kind == "show_panels" and order.theme == "light"
