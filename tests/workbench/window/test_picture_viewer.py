"""The viewer of plots: keys choose them, at least one stays, and what is drawn fills the window."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.window.panels.picture_viewer import FOOT_PIXELS, PictureViewer
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame

TITLES = {"one": "One", "two": "Two", "three": "Three"}


class Asked:
    """Draws one colour, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.names: list[tuple[str, ...]] = []
        self.size = (0, 0)
        self.theme = ""

    def __call__(self, names: Sequence[str], size: tuple[int, int], theme_name: theme.Name) -> NDArray[np.uint8]:
        self.names.append(tuple(names))
        self.size, self.theme = size, theme_name
        return np.full((size[1], size[0], 3), (10, 200, 30), np.uint8)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def viewer(asked: Asked) -> Iterator[PictureViewer]:
    shown = PictureViewer("runs", TITLES, ("one", "two"), asked)
    yield shown


def press(*keys: int) -> None:
    for key in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_keys_choose_plots_until_escape(viewer: PictureViewer, asked: Asked) -> None:
    press(pygame.K_1, pygame.K_3, pygame.K_ESCAPE)
    viewer.run()
    assert viewer.closed
    assert viewer.shown == ("two", "three")
    assert asked.names[0] == ("one", "two")


def test_one_plot_stays(viewer: PictureViewer) -> None:
    press(pygame.K_1, pygame.K_2, pygame.K_q)
    viewer.run()
    assert viewer.shown == ("two",)


def test_all_plots_and_other_colours(viewer: PictureViewer, asked: Asked) -> None:
    viewer.show()
    assert asked.theme == "dark"
    assert viewer.handle(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_0))
    assert viewer.handle(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_t))
    viewer.show()
    assert asked.names[-1] == tuple(TITLES)
    assert asked.theme == "light"
    viewer.handle(pygame.event.Event(pygame.QUIT))
    viewer.run()


def test_other_keys_draw_nothing(viewer: PictureViewer) -> None:
    assert not viewer.handle(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_9))
    assert not viewer.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=(1, 1)))
    assert viewer.handle(pygame.event.Event(pygame.WINDOWSIZECHANGED))
    press(pygame.K_q)
    viewer.run()


def test_the_picture_leaves_room_for_the_keys(viewer: PictureViewer, asked: Asked) -> None:
    viewer.show()
    width, height = viewer.size
    assert asked.size == (width, height - FOOT_PIXELS)
    press(pygame.K_q)
    viewer.run()
