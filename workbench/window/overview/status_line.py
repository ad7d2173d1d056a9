"""The two bottom rows: the status of each process and of the run, and under it key hints and the server's address.

Items keep the width of their longest text, so that nothing moves while figures change. An item that does not fit is
omitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from plots.number import UNKNOWN
from workbench.telemetry.view import Part, Reading, View
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import BINDINGS, LIVE_ONLY, REPLAY_BINDINGS, Action
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.theme import Lettering
from workbench.window.toolkit.view import Drawable, Focusable
from workbench.window.toolkit.wording import TERMS, format_cores, format_count, format_ratio, format_whole

_DOT_WIDTH, _WORD_GAP, _ITEM_GAP_MAX, _HINT_GAP = 14, 5, 34, 20
_LOOPS_SHOWN = 4

PROCESS_MEANING = "A separate process: its state, or the CPU cores it uses."
MEANINGS: dict[str, str] = {
    "window": "CPU cores that this window uses, and pictures per second (fps) that it brings to the screen. It is "
    "redrawn on change: while less changes, fewer are needed.",
    "broker": "The MQTT broker. Held still: paused by a fault. Gone: for how long, and reconnect attempts.",
    "tick": "Engine steps so far. Each broadcasts the changes since the previous one.",
    "broadcast": "Whether broadcasts fit into the tick interval; otherwise the interval is lengthened.",
    "utilisation": TERMS["utilisation"],
    "connections": "Open WebSocket connections, of the intended number; lost = closed unexpectedly.",
    "on loops": "Connections of each of the server's loops.",
    "ledger": "Sent = admitted + throttled + shed + out of bounds + in flight. "
    "Balanced: every placement is accounted for; otherwise it is a bug.",
    "merge": "Coalescing ratio: accepted placements per broadcast pixel change.",
    "per viewer": "Bytes per second that each viewer receives.",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A dim name and its value, optionally after a dot. `widest` is the longest expected value."""

    name: str
    value: str
    widest: str
    dot: str | None = None


def _part_item(part: Part, cores: float | None) -> Item:
    state = "failed" if part.failure else part.state
    color = theme.STATE_ROLES.get(state, "faint")
    # While it runs, its CPU use says more than the word.
    if state == "running" and cores is not None:
        return Item(part.name, format_cores(cores), "connecting", color)
    return Item(part.name, state, "connecting", color)


def _window_item(fps: float, cores: float | None) -> Item:
    return Item("window", f"{format_cores(cores)}  {fps:.0f} fps", "0.00 core  00 fps", "green")


def _connections(reading: Reading) -> str:
    lost = f", {format_whole(reading.lost_count)} lost" if reading.lost_count else ""
    target = f" of {format_whole(reading.connection_target)}" if reading.connection_target else ""
    now = UNKNOWN if reading.connection_count is None else format_whole(reading.connection_count)
    return f"{now}{target}{lost}"


def _broadcast_item(reading: Reading) -> Item:
    """Whether broadcasts fit into the tick interval; if not, the interval that was asked for."""
    widest = "behind: target 0,000 ms"
    if reading.tick_ms is None or reading.tick_ms_configured is None:
        return Item("broadcast", UNKNOWN, widest)
    if reading.tick_ms <= reading.tick_ms_configured:
        return Item("broadcast", "on time", widest)
    return Item("broadcast", f"behind: target {format_whole(round(reading.tick_ms_configured))} ms", widest)


def _loops_items(reading: Reading) -> list[Item]:
    """The connections of each loop, where there is more than one."""
    counts = reading.loop_connection_counts
    if len(counts) < 2:
        return []
    shown = " ".join(format_whole(count) for count in counts[:_LOOPS_SHOWN]) + (
        " ..." if len(counts) > _LOOPS_SHOWN else ""
    )
    return [Item("on loops", shown, " ".join(["00,000"] * min(len(counts), _LOOPS_SHOWN)))]


def _ledger_item(reading: Reading) -> Item:
    """Green while every placement is accounted for, otherwise red."""
    if reading.ledger_gap:
        return Item("ledger", f"off by {format_whole(reading.ledger_gap)}", "off by 000", "vermilion")
    return Item("ledger", UNKNOWN if reading.ledger_gap is None else "balanced", "off by 000", "green")


def _broker_items(view: View) -> list[Item]:
    """The MQTT broker and its state, in a run that has one."""
    if view.broker is None:
        return []
    color = "green" if view.broker.is_connected else "vermilion"
    color = "orange" if view.broker.is_held else color
    return [Item("broker", view.broker_text, f"{view.broker.name} gone for 00 s, 00 attempts", color)]


def _merge_ratio(reading: Reading) -> str:
    """Admitted placements per broadcast pixel change."""
    if not reading.merged_per_s or reading.admitted_per_s is None:
        return UNKNOWN
    return f"{reading.admitted_per_s / reading.merged_per_s:.1f} : 1"


def _viewer_bytes(reading: Reading) -> str:
    if not reading.subscriber_count or reading.broadcast_bytes_per_s is None:
        return UNKNOWN
    return format_count(reading.broadcast_bytes_per_s / reading.subscriber_count, "B/s")


def items_of(scene: Scene) -> list[Item]:
    """The items of the status line, most important first."""
    reading = scene.reading
    cores = {
        "server": reading.server_cpu_cores,
        "fleet": reading.fleet_cpu_cores,
        "panels": reading.panels_cpu_cores,
    }
    drawn = [] if scene.fps is None else [_window_item(scene.fps, scene.cpu_cores)]
    target = format_whole(reading.connection_target)
    return [
        *(_part_item(part, cores.get(part.name)) for part in scene.view.parts),
        *_broker_items(scene.view),
        *drawn,
        Item("tick", format_whole(reading.tick), "000,000"),
        _broadcast_item(reading),
        Item("utilisation", format_ratio(reading.utilisation_ratio), "100 %"),
        Item("connections", _connections(reading), f"{target} of {target}"),
        *_loops_items(reading),
        _ledger_item(reading),
        Item("merge", _merge_ratio(reading), "1,000 : 1"),
        Item("per viewer", _viewer_bytes(reading), "999 kB/s"),
    ]


class StatusLine(Drawable, Focusable):
    """The status of processes and run, each item in a slot of its own."""

    def forget(self) -> None:
        self._drawn: list[Item] = []
        self._slots: list[pygame.Rect] = []

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        items = items_of(scene)
        if items == self._drawn:
            return []
        # Widths depend on values only when one outgrows its slot, so this is almost always the same list.
        slots = self._slots_of(items)
        if slots != self._slots:
            target.fill(self._pen.theme.background, self._box)
            self._slots, self._drawn = slots, []
            # Not strict: items without a slot are omitted.
            for item, slot in zip(items, slots, strict=False):
                self._draw_item(target, item, slot)
            dirty = [self._box]
        else:
            dirty = [
                self._draw_item(target, item, slot)
                for item, drawn, slot in zip(items, self._drawn, slots, strict=False)
                if item != drawn
            ]
        self._drawn = items
        return dirty

    def tip(self, position: tuple[int, int], scene: Scene) -> str:
        found = (item for item, slot in zip(self._drawn, self._slots, strict=False) if slot.collidepoint(position))
        return "\n".join(f"{item.name}\n{MEANINGS.get(item.name, PROCESS_MEANING)}" for item in found)

    def step_focus(self, step: int) -> bool:
        return False  # Nothing to press.

    def _item_width(self, item: Item) -> int:
        pen = self._pen
        # The current value may be wider than expected: then the items after it move once.
        value = max(pen.width(item.value, theme.STATUS), pen.width(item.widest, theme.STATUS))
        lead = pen.px(_DOT_WIDTH) if item.dot else 0
        return lead + pen.width(item.name, theme.STATUS_DIM) + pen.px(_WORD_GAP) + value

    def _slots_of(self, items: list[Item]) -> list[pygame.Rect]:
        """A slot for each item that fits; gaps share the remaining room."""
        widths = [self._item_width(item) for item in items]
        least = self._pen.px(8)
        # From the end: the items are ordered by importance.
        while sum(widths) + least * (len(widths) - 1) > self._box.width:
            widths.pop()
        gap = min(self._pen.px(_ITEM_GAP_MAX), (self._box.width - sum(widths)) // max(1, len(widths) - 1))
        slots, left = [], self._box.left
        for width in widths:
            slots.append(pygame.Rect(left, self._box.top, width, self._box.height))
            left += width + gap
        return slots

    def _draw_item(self, target: pygame.Surface, item: Item, slot: pygame.Rect) -> pygame.Rect:
        target.fill(self._pen.theme.background, slot)
        rest = slot.copy()
        if item.dot:
            self._pen.dot(target, (slot.left + self._pen.px(4), slot.centery), self._pen.theme.color(item.dot))
            rest.left, rest.width = rest.left + self._pen.px(_DOT_WIDTH), rest.width - self._pen.px(_DOT_WIDTH)
        name = self._pen.write(target, item.name, rest, theme.STATUS_DIM)
        left = name.right + self._pen.px(_WORD_GAP)
        self._pen.write(target, item.value, pygame.Rect(left, rest.top, slot.right - left, rest.height), theme.STATUS)
        return slot


def _hints(*, is_replay: bool) -> list[tuple[str, str]]:
    """Keys and what they do in a word, the help key first. In a replay: its keys, and those that work there."""
    hinted = sorted((b for b in BINDINGS if b.hint), key=lambda binding: binding.action is not Action.HELP)
    # The help key comes first, since the last hints are omitted in a narrow window.
    wanted = [(b.keys, b.hint) for b in hinted if not is_replay or b.action not in LIVE_ONLY]
    if not is_replay:
        return wanted
    return [wanted[0], *((each.keys, each.hint) for each in REPLAY_BINDINGS), *wanted[1:]]


class HintLine(Drawable):
    """Key hints at the left, the address for other clients at the right."""

    def draw(self, target: pygame.Surface, scene: Scene) -> list[pygame.Rect]:
        if not self._changed((scene.view.url, scene.session.replay is not None)):
            return []
        target.fill(self._pen.theme.background, self._box)
        right = self._box.right
        if scene.view.url:
            is_open = scene.view.is_open_to_network
            text = f"{'open to the network, ' if is_open else ''}join at {scene.view.url} (A)"
            lettering = theme.WARNING_NAME if is_open else theme.STATUS_DIM
            right = self._pen.write(target, text, self._box, lettering, "right").left
        self._draw_hints(target, right, _hints(is_replay=scene.session.replay is not None))
        return [self._box]

    def _draw_hints(self, target: pygame.Surface, right: int, hints: Sequence[tuple[str, str]]) -> None:
        """Draw the hints up to `right`; one that does not fit is omitted."""
        left, gap = self._box.left, self._pen.px(_HINT_GAP)
        for keys, word in hints:
            key, hint = self._pen.width(keys, theme.KEY), self._pen.width(word, theme.STATUS_DIM)
            if left + key + self._pen.px(_WORD_GAP) + hint + gap > right:
                return
            left = self._word(target, keys, left, theme.KEY) + self._pen.px(_WORD_GAP)
            left = self._word(target, word, left, theme.STATUS_DIM) + gap

    def _word(self, target: pygame.Surface, text: str, left: int, lettering: Lettering) -> int:
        """Write a word at `left`. Returns its right end."""
        box = pygame.Rect(left, self._box.top, self._box.right - left, self._box.height)
        return self._pen.write(target, text, box, lettering).right
