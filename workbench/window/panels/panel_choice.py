"""Which panels are shown, and their time range, which ends now or within the last ten minutes.

It draws nothing. The window compares `order` with the last one that it sent to the panels' process.
"""

from plots.ipc import ShowPanels
from plots.series import DEFAULT_NAMES, HOSTILE_NAMES, PANELS
from workbench.telemetry.view import TileBox
from workbench.window.toolkit.theme import Name

# Lengths of the time range, by the texts of their buttons.
SPANS_S = {"15 s": 15.0, "30 s": 30.0, "1 min": 60.0, "3 min": 180.0, "10 min": 600.0}
# The history in memory.
KEPT_NS = 600_000_000_000
# Share of the time range that one step of a key or the wheel moves.
STEP_RATIO = 0.1
_SECOND_NS = 1_000_000_000


class PanelChoice:
    """What the panels should show: as many different ones as there are positions."""

    def __init__(self) -> None:
        self._usual: tuple[str, ...] = DEFAULT_NAMES
        self.names: tuple[str, ...] = self._usual
        self.span_s = SPANS_S["1 min"]
        self.end_ns = 0
        """Time at the right edge; 0: now."""
        self.brushed: TileBox | None = None

    @property
    def live(self) -> bool:
        """Whether the right edge is the current time."""
        return self.end_ns == 0

    def order(self, theme: Name) -> ShowPanels:
        """The order for the panels' process, in this theme."""
        return ShowPanels(self.names, theme, self.end_ns, self.span_s, _note(self.brushed))

    def take(self, order: ShowPanels) -> None:
        """Adopt the settings of an order."""
        self.names, self.end_ns, self.span_s = order.names, order.end_ns, order.span_s

    def put(self, place: int, name: str) -> None:
        """Show this panel at a position. If it is already shown elsewhere, the two swap."""
        assert name in PANELS, name
        names = list(self.names)
        # Swapped, so that no panel is shown twice and none is lost.
        if name in names:
            names[names.index(name)] = names[place]
        names[place] = name
        assert len(set(names)) == len(names), names
        self.names = tuple(names)

    def turn_span(self, step: int) -> None:
        """Choose the next longer (1) or shorter (-1) time range, if there is one."""
        spans = tuple(SPANS_S.values())
        nearest = min(range(len(spans)), key=lambda index: abs(spans[index] - self.span_s))
        self.span_s = spans[min(max(nearest + step, 0), len(spans) - 1)]

    def travel_to(self, end_ns: int, now_ns: int, begin_ns: int) -> None:
        """Move the right edge to this time, or the nearest in memory. `begin_ns`: the start of the run.

        Within half a step of the current time it becomes live.
        """
        span_ns = round(self.span_s * _SECOND_NS)
        # Neither before the history in memory nor before the run: the plots would be empty.
        least_ns = max(now_ns - KEPT_NS + span_ns, begin_ns + min(span_ns, 5 * _SECOND_NS))
        end_ns = max(end_ns, least_ns)
        # Snapping to live: hitting the exact end of a moving time would be impossible.
        self.end_ns = 0 if end_ns >= now_ns - span_ns * STEP_RATIO / 2 else end_ns

    def travel(self, steps: float, now_ns: int, begin_ns: int) -> None:
        """Move by steps: forward, or back if negative."""
        step_ns = round(steps * STEP_RATIO * self.span_s * _SECOND_NS)
        self.travel_to((self.end_ns or now_ns) + step_ns, now_ns, begin_ns)

    def go_live(self) -> None:
        """Follow the current time."""
        self.end_ns = 0

    def begin(self, *, has_hostile: bool) -> None:
        """Start with another session. Its default panels are shown unless the user chose others before.

        `has_hostile`: it has hostile clients.
        """
        chosen, before = self.names, self._usual
        self._usual = HOSTILE_NAMES if has_hostile else DEFAULT_NAMES
        # Compared with the defaults of the session before: a choice that the user made is kept.
        self.names = self._usual if chosen == before else chosen
        self.go_live()
        self.brushed = None


def _note(brushed: TileBox | None) -> str:
    if brushed is None:
        return ""
    return f"brushed: tiles {brushed.x0},{brushed.y0} to {brushed.x1 - 1},{brushed.y1 - 1}"
