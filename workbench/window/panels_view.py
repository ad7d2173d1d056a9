"""The panels: one picture that their own process draws into a double buffer, blitted when a new one is finished.

It never waits for that process. A picture of another size than the box is shown fitted into it until the next comes;
before the first, four empty frames.
"""

from workbench.view import Part
from workbench.window import theme
from workbench.window.pen import Pen
from workbench.window.scene import Scene
from workbench.window.toolkit import pygame

_FRAME_GAP = 14
PANELS_FIRST = ("throughput", "queues", "heat", "drops")
"""Shown until others are chosen. They are `plots.series.DEFAULT_NAMES`, which brings matplotlib and so stays out."""


def fitted(size: tuple[int, int], box: pygame.Rect) -> pygame.Rect:
    """The largest rectangle of the shape of `size` that fits into `box`, centred."""
    factor = min(box.width / size[0], box.height / size[1])
    place = pygame.Rect(0, 0, max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    place.center = box.center
    return place


class PanelsView:
    """Draws the newest finished picture, or the one that a paused view holds."""

    def __init__(self) -> None:
        self._held: pygame.Surface | None = None

    def place(self, box: pygame.Rect, pen: Pen) -> None:
        """Take this box; see `Drawable`."""
        self._box, self._pen = box, pen
        self.forget()

    def forget(self) -> None:
        """Draw all of it next time."""
        self._drawn: tuple[object, ...] | None = None

    def hold(self, scene: Scene) -> None:
        """Keep showing the picture of now. Nothing to hold before the first."""
        picture = self._newest(scene)
        self._held = picture.copy() if picture else None

    def release(self) -> None:
        """Follow the newest picture again."""
        self._held = None
        self.forget()

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        """Draw what changed. Returns the rectangles that did."""
        serial = int(scene.picture["serial"][0])
        state: tuple[object, ...] = ("held",) if self._held else (serial, () if serial else self._notice(scene))
        if state == self._drawn:
            return []
        self._drawn = state
        picture = self._held or self._newest(scene)
        if picture is None:
            self._draw_frames(target, self._notice(scene))
        elif picture.size == self._box.size:
            target.blit(picture, self._box)
        else:
            self._draw_fitted(target, picture)
        return [self._box]

    @staticmethod
    def _newest(scene: Scene) -> pygame.Surface | None:
        """A view of the finished buffer, without a copy; None before the first."""
        page = scene.picture
        if not page["serial"][0]:
            return None
        front = int(page["front"][0])
        width, height = (int(side) for side in page["size"][front])
        return pygame.image.frombuffer(page["pixels"][front, : width * height * 4].data, (width, height), "RGBX")

    def _draw_fitted(self, target: pygame.Surface, picture: pygame.Surface) -> None:
        target.fill(theme.BACKGROUND, self._box)
        place = fitted(picture.size, self._box)
        # Smooth scaling writes all four bytes, so it works on a picture of the same order of bytes as its source.
        target.blit(pygame.transform.smoothscale(picture, place.size), place)

    @staticmethod
    def _notice(scene: Scene) -> tuple[str, ...]:
        panels: Part | None = next((part for part in scene.view.parts if part.name == "panels"), None)
        if panels is None:
            return ("panels", "not part of this session")
        return ("panels", "failed" if panels.failure else panels.state)

    def _draw_frames(self, target: pygame.Surface, notice: tuple[str, ...]) -> None:
        """Four frames where the panels will be, and one quiet line."""
        target.fill(theme.BACKGROUND, self._box)
        gap = self._pen.px(_FRAME_GAP)
        width, height = (self._box.width - gap) // 2, (self._box.height - gap) // 2
        for column in range(2):
            for row in range(2):
                corner = (self._box.left + column * (width + gap), self._box.top + row * (height + gap))
                self._pen.card(target, pygame.Rect(corner, (width, height)), theme.HEADER, theme.SURFACE)
        text = " ".join(notice)
        pill = pygame.Rect(0, 0, self._pen.width(text, theme.NOTE) + self._pen.px(36), self._pen.px(36))
        pill.center = self._box.center
        self._pen.card(target, pill, theme.RAISED, theme.LINE)
        self._pen.write(target, text, pill, theme.NOTE, "center")
