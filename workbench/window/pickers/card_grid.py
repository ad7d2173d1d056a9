"""The cards of all that can be run: their pictures, which one the cursor is at, and what keys and mouse do to it.

Not where a card is, nor how it looks: the full picker and the one at the start do that. Pictures are read when the deck
is first opened. Invariant: what is picked can run on this machine; of what cannot, the reason is told.
"""

from collections.abc import Callable

from workbench.scenarios.catalog import Pick, all_picks
from workbench.scenarios.scenario import Scenario
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.toolkit import pygame

_PICKING = (pygame.K_RETURN, pygame.K_KP_ENTER)
_CLOSING = (pygame.K_ESCAPE, pygame.K_q, pygame.K_l)
NUMBERED = 9
"""So many cards have a key of their own."""


class CardGrid:
    """`on_pick` is given what was picked, `on_refuse` why something cannot be, and when.

    With `goes_on`, who picks what runs already goes on with it; without, it begins anew.
    """

    def __init__(
        self, on_pick: Callable[[Scenario], None], on_refuse: Callable[[str, int], None], *, goes_on: bool = False
    ) -> None:
        self._on_pick, self._on_refuse, self._goes_on = on_pick, on_refuse, goes_on
        self.shown = False
        self.picks: tuple[Pick, ...] = ()
        self.cursor = 0
        self.running: int | None = None
        """Of these, the one that runs now; None: something else does."""
        self._pictures: list[pygame.Surface] = []
        self._scaled: dict[tuple[int, int, int], pygame.Surface] = {}

    def open(self, scene: Scene) -> None:
        """Show the cards, with the cursor on what runs now. Raises UserError or OSError for a card without its file."""
        if not self.picks:
            picks = all_picks()
            self._pictures = [pygame.image.load(pick.picture) for pick in picks]
            self.picks = picks
        self.shown = True
        scenario = scene.session.controls.scenario
        self.running = next((i for i, pick in enumerate(self.picks) if pick.is_of(scenario)), None)
        self.cursor = self.running or 0

    def press_key(self, key: int, columns: int, now_ns: int) -> bool:
        """Move, pick or close, with the cards in so many columns. False for a key that is not the deck's."""
        steps = {pygame.K_LEFT: -1, pygame.K_RIGHT: 1, pygame.K_TAB: 1, pygame.K_UP: -columns, pygame.K_DOWN: columns}
        number = key - pygame.K_1
        if key in steps:
            self.cursor = min(max(self.cursor + steps[key], 0), len(self.picks) - 1)
        elif 0 <= number < min(NUMBERED, len(self.picks)):
            self.cursor = number
            self.pick(now_ns)
        elif key in _PICKING:
            self.pick(now_ns)
        elif key in _CLOSING:
            self.shown = False
        else:
            return False
        return True

    def point(self, event: pygame.event.Event, card: Callable[[int], pygame.Rect], now_ns: int) -> None:
        """The mouse is over a card, or a button went down there. `card` tells where each is."""
        under = next((index for index in range(len(self.picks)) if card(index).collidepoint(event.pos)), None)
        if under is not None:
            self.cursor = under
            if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self.pick(now_ns)

    def pick(self, now_ns: int) -> None:
        """Have the card of the cursor run, if it can."""
        pick = self.picks[self.cursor]
        if self._goes_on and self.cursor == self.running:
            self.shown = False
            return
        reason = pick.refusal()
        if reason:
            self._on_refuse(f"{pick.label} {reason}", now_ns)
            return
        self.shown = False
        self._on_pick(pick.scenario)

    def picture(self, index: int, size: tuple[int, int]) -> pygame.Surface:
        """A card's picture at this size in pixels."""
        key = (index, *size)
        if key not in self._scaled:
            self._scaled = {kept: surface for kept, surface in self._scaled.items() if kept[1:] == size}
            self._scaled[key] = pygame.transform.smoothscale(self._pictures[index].convert(32), size)
        return self._scaled[key]
