"""Which panels are shown, over which time: the present, or a time of the last ten minutes.

It draws nothing and tells nobody; the window compares `order` with what the panels' process was told last.
Invariant: as many different panels as there are places, and a time that is still in memory.
"""

from plots.ipc import ShowPanels
from plots.series import DEFAULT_NAMES, HARASSED_NAMES, PANELS
from workbench.telemetry.view import TileBox
from workbench.window.toolkit.theme import Name

SPANS_S = {"15 s": 15.0, "30 s": 30.0, "1 min": 60.0, "3 min": 180.0, "10 min": 600.0}
"""How far panels may look back, by what the buttons say."""
KEPT_NS = 600_000_000_000
"""So much of a run is in memory."""
STEP_RATIO = 0.1
"""Of the span, that one step of a key or the wheel goes back or forth."""
_SECOND_NS = 1_000_000_000


class PanelChoice:
    """What the panels are wanted to show."""

    def __init__(self) -> None:
        self._usual: tuple[str, ...] = DEFAULT_NAMES
        self.names: tuple[str, ...] = self._usual
        self.span_s = SPANS_S["1 min"]
        self.end_ns = 0
        """Time at the right edge; 0: the present."""
        self.brushed: TileBox | None = None

    @property
    def live(self) -> bool:
        """Whether the present is shown."""
        return self.end_ns == 0

    def order(self, theme: Name) -> ShowPanels:
        """What to tell the panels' process, in these colours."""
        return ShowPanels(self.names, theme, self.end_ns, self.span_s, _note(self.brushed))

    def take(self, order: ShowPanels) -> None:
        """Show what somebody else wants shown."""
        self.names, self.end_ns, self.span_s = order.names, order.end_ns, order.span_s

    def put(self, place: int, name: str) -> None:
        """Show this panel there. One that is shown already changes places with what was there."""
        assert name in PANELS, name
        names = list(self.names)
        if name in names:
            names[names.index(name)] = names[place]
        names[place] = name
        self.names = tuple(names)

    def turn_span(self, step: int) -> None:
        """Look at a longer time (1) or a shorter one (-1), as far as there is one."""
        spans = tuple(SPANS_S.values())
        nearest = min(range(len(spans)), key=lambda index: abs(spans[index] - self.span_s))
        self.span_s = spans[min(max(nearest + step, 0), len(spans) - 1)]

    def travel_to(self, end_ns: int, now_ns: int, begin_ns: int) -> None:
        """Have this time at the right edge, or the nearest that is in memory; half a step from the present it is live.

        `begin_ns` is when the run began: before it there was nothing.
        """
        span_ns = round(self.span_s * _SECOND_NS)
        least_ns = max(now_ns - KEPT_NS + span_ns, begin_ns + min(span_ns, 5 * _SECOND_NS))
        end_ns = max(end_ns, least_ns)
        self.end_ns = 0 if end_ns >= now_ns - span_ns * STEP_RATIO / 2 else end_ns

    def travel(self, steps: float, now_ns: int, begin_ns: int) -> None:
        """Go so many steps towards the present, or back for a negative number."""
        step_ns = round(steps * STEP_RATIO * self.span_s * _SECOND_NS)
        self.travel_to((self.end_ns or now_ns) + step_ns, now_ns, begin_ns)

    def go_live(self) -> None:
        """Show the present."""
        self.end_ns = 0

    def begin(self, *, is_harassed: bool) -> None:
        """Another session: its past is another, and so are its usual panels, which who chose none is shown.

        `is_harassed`: clients misbehave in it.
        """
        chosen, before = self.names, self._usual
        self._usual = HARASSED_NAMES if is_harassed else DEFAULT_NAMES
        self.names = self._usual if chosen == before else chosen
        self.go_live()
        self.brushed = None


def _note(brushed: TileBox | None) -> str:
    if brushed is None:
        return ""
    return f"brushed: tiles {brushed.x0},{brushed.y0} to {brushed.x1 - 1},{brushed.y1 - 1}"
