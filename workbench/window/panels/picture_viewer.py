"""A window for a static picture of plots: keys choose the plots and the theme. It draws only on events.

At least one plot is always shown.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.window.toolkit import theme
from workbench.window.toolkit.display import Display, pygame
from workbench.window.toolkit.painter import Painter

# Draws the named plots in (width, height) pixels and a theme; returns shape (height, width, 3).
Draw = Callable[[Sequence[str], tuple[int, int], theme.Name], NDArray[np.uint8]]
SIZE, SIZE_MIN = (1200, 900), (480, 360)
FOOT_PIXELS, MARGIN_PIXELS = 28, 12
# Longest wait for an event: Python handles signals only between waits.
WAIT_MS = 500


class PictureViewer:
    """Shows plots until it is closed. `titles`: by name, in the order of keys 1 to 9. Raises NoDisplay."""

    def __init__(self, title: str, titles: Mapping[str, str], shown: Sequence[str], draw: Draw) -> None:
        self._draw = draw
        self._names = tuple(titles)[:9]
        self.shown = tuple(name for name in self._names if name in shown)
        """The plots shown, from top to bottom."""
        self.closed = False
        self._display = Display(title, SIZE, SIZE_MIN)
        self._pen = Painter(1)
        legend = "   ".join(f"{number} {name}" for number, name in enumerate(self._names, 1))
        self._foot = f"{legend}   0 all   T colours   Esc close"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self._display.surface.get_size()
        return width, height

    def run(self) -> None:
        """Run until the user closes it."""
        self.show()
        while not self.closed:
            # All pending events at once: a drag of the window's edge gives many, and one drawing is enough.
            first = pygame.event.wait(WAIT_MS)
            asked = [self.handle(event) for event in (first, *pygame.event.get())]
            if any(asked) and not self.closed:
                self.show()
        self._display.close()

    def handle(self, event: pygame.event.Event) -> bool:
        """Handle an event. True when the picture must be drawn again."""
        if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
            self.closed = True
        elif event.type in (pygame.WINDOWSIZECHANGED, pygame.WINDOWEXPOSED):
            return True
        elif event.type == pygame.KEYDOWN:
            return self._press(event.key)
        return False

    def show(self) -> None:
        """Draw the picture and the keys below it."""
        surface = self._display.surface
        width, height = self.size
        pixels = self._draw(self.shown, (width, max(height - FOOT_PIXELS, 1)), self._pen.theme.name)
        surface.fill(self._pen.theme.background)
        surface.blit(pygame.surfarray.make_surface(pixels.swapaxes(0, 1)), (0, 0))
        foot = pygame.Rect(MARGIN_PIXELS, height - FOOT_PIXELS, width - 2 * MARGIN_PIXELS, FOOT_PIXELS)
        self._pen.write(surface, self._foot, foot, theme.SMALL)
        self._display.show()

    def _press(self, key: int) -> bool:
        if key in (pygame.K_ESCAPE, pygame.K_q):
            self.closed = True
        elif key == pygame.K_t:
            self._pen = Painter(1, self._pen.theme.other)
            return True
        elif key == pygame.K_0:
            self.shown = self._names
            return True
        elif pygame.K_1 <= key < pygame.K_1 + len(self._names):
            self._toggle(self._names[key - pygame.K_1])
            return True
        return False

    def _toggle(self, name: str) -> None:
        # The last plot stays: an empty picture would look broken.
        wanted = set(self.shown) ^ {name}
        if wanted:
            self.shown = tuple(one for one in self._names if one in wanted)
