"""The overlays in their order, laid over the picture without disturbing it.

Views draw into the picture; the screen is a copy of it with the overlays on top. Where an overlay was, the picture is
put back, so an overlay costs nothing to the views and a view nothing to the overlays it does not touch.
"""

from collections.abc import Sequence

from workbench.window.overview.overlay import Overlay
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame


class Stack:
    """Composes the screen from the picture and the overlays, lowest first."""

    def __init__(self, overlays: Sequence[Overlay]) -> None:
        self._overlays = overlays
        self._shown: list[tuple[Overlay, object, pygame.Rect]] = []

    @property
    def shown(self) -> list[tuple[Overlay, pygame.Rect]]:
        """The overlays that were there at the last `compose`, lowest first, and where."""
        return [(overlay, box) for overlay, _, box in self._shown]

    def compose(
        self, screen: pygame.Surface, picture: pygame.Surface, dirty: list[pygame.Rect], scene: Scene, pen: Painter
    ) -> list[pygame.Rect]:
        """Bring the screen up to date where the picture is `dirty` or an overlay changed. Returns what changed."""
        shown = self._present(scene, picture.get_rect(), pen)
        changed = dirty + self._differences(shown)
        boxes = [box for _, _, box in shown]
        if any(box.collidelist(changed) >= 0 for box in boxes):
            changed = changed + boxes  # All of them anew: one that overlaps another must stay above or below it.
        for rect in changed:
            screen.blit(picture, rect, rect)
        if changed:
            for overlay, _, box in shown:
                if box.collidelist(changed) >= 0:
                    overlay.draw(screen, box, scene, pen)
        self._shown = shown
        return changed

    def _present(self, scene: Scene, bounds: pygame.Rect, pen: Painter) -> list[tuple[Overlay, object, pygame.Rect]]:
        contents = ((overlay, overlay.content(scene)) for overlay in self._overlays)
        return [
            (overlay, content, overlay.box(scene, bounds, pen)) for overlay, content in contents if content is not None
        ]

    def _differences(self, shown: list[tuple[Overlay, object, pygame.Rect]]) -> list[pygame.Rect]:
        """Boxes of overlays that came, went, moved or say something else."""
        gone = [entry for entry in self._shown if entry not in shown]
        come = [entry for entry in shown if entry not in self._shown]
        return [box for _, _, box in (*gone, *come)]
