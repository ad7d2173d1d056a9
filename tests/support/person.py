"""A user of a window: moves the mouse and presses keys through pygame's event queue, and looks at the picture."""

import numpy as np

from server.kernels.layout import Phase
from support.window_stage import FAR_NS, READING, FakeSession, rgb
from workbench.window.shell.canvas_area import CanvasArea
from workbench.window.shell.window import Window
from workbench.window.toolkit.display import pygame

SIZE = (1280, 720)
SECOND_NS = 1_000_000_000


class Person:
    """A user of a window on SDL's dummy display, which `with` closes."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.window = Window(session, size=SIZE)
        self.now_ns = FAR_NS
        self.picture = self.window.step(self.now_ns)

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *_: object) -> None:
        pygame.key.set_mods(0)
        self.window.close()

    @property
    def canvas_area(self) -> CanvasArea:
        return self.window._layout.canvas_area

    def see(self, *events: pygame.event.Event, passed_ns: int = 10_000_000) -> np.ndarray:
        """Post these events and let time pass. Returns the picture."""
        for event in events:
            pygame.event.post(event)
        self.now_ns += passed_ns
        self.session.change(now_ns=self.session.shown.now_ns + passed_ns)
        self.picture = self.window.step(self.now_ns)
        return rgb(self.picture)

    def key(self, code: int, mod: int = 0) -> np.ndarray:
        return self.see(pygame.event.Event(pygame.KEYDOWN, key=code, mod=mod, unicode=""))

    def point(self, position: tuple[int, int]) -> np.ndarray:
        return self.see(pygame.event.Event(pygame.MOUSEMOTION, pos=position, rel=(0, 0), buttons=(0, 0, 0)))

    def wheel(self, steps: int) -> np.ndarray:
        return self.see(pygame.event.Event(pygame.MOUSEWHEEL, x=0, y=steps, flipped=False))

    def drag(self, *positions: tuple[int, int], button: int = 1, mod: int = 0) -> np.ndarray:
        """Press at the first position, move to the others, release at the last."""
        pygame.key.set_mods(mod)
        self.see(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=positions[0], button=button))
        pygame.key.set_mods(0)
        for position in positions[1:]:
            self.see(pygame.event.Event(pygame.MOUSEMOTION, pos=position, rel=(0, 0), buttons=(1, 0, 0)))
        return self.see(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=positions[-1], button=button))

    def press_button(self, name: str) -> np.ndarray:
        return self.drag(self.canvas_area._bar._boxes[name].center)

    def asked(self, what: str) -> list[tuple[object, ...]]:
        return [entry[1:] for entry in self.session.asked if entry[0] == what]

    def place_of(self, x: int, y: int) -> tuple[int, int]:
        """The window position of the middle of a canvas pixel."""
        return self.canvas_area.canvas.viewport.rect_of(x, y, x + 1, y + 1).center


def fill_connections(session: FakeSession, count: int) -> np.ndarray:
    """`count` open connections with numbers from 100 on."""
    rows = session.connections_page["connections"][0, :count]
    rows["phase"], rows["number"], rows["subscribed"] = Phase.FAST, np.arange(count) + 100, 1
    rows["cursor"], rows["received_count"] = READING.tick, 1
    return rows
