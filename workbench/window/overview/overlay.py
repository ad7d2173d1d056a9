"""The overlays on top of the picture that no view owns: loading card, pause mark, caption, toast and tooltip.

`Stack` composes them. Views draw into the picture; the screen is a copy of it with the overlays on top. Where an
overlay was, the picture is restored: views never redraw because of an overlay.
"""

from collections.abc import Sequence

from workbench.errors import shown
from workbench.telemetry.view import Part, Reading
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Scene
from workbench.window.toolkit.view import Overlay
from workbench.window.toolkit.wording import format_whole


class Stack:
    """Composes the screen from the picture and the overlays, lowest first."""

    def __init__(self, overlays: Sequence[Overlay]) -> None:
        self._overlays = overlays
        self._shown: list[tuple[Overlay, object, pygame.Rect]] = []

    @property
    def shown(self) -> list[tuple[Overlay, pygame.Rect]]:
        """The overlays shown by the last `compose`, lowest first, and their boxes."""
        return [(overlay, box) for overlay, _, box in self._shown]

    def compose(
        self, screen: pygame.Surface, picture: pygame.Surface, dirty: list[pygame.Rect], scene: Scene, pen: Painter
    ) -> list[pygame.Rect]:
        """Update the screen where the picture is `dirty` or an overlay changed. Returns the changed rectangles."""
        shown = self._present(scene, picture.get_rect(), pen)
        # What an overlay covered before counts as changed: the picture is copied there again.
        changed = dirty + self._differences(shown)
        boxes = [box for _, _, box in shown]
        if any(box.collidelist(changed) >= 0 for box in boxes):
            # Redraw all overlays, not only the one that changed: where two overlap, their order must be kept.
            changed = changed + boxes
        # Only copies: the views keep their own picture, and are not asked to draw because of an overlay.
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
        """Boxes of overlays that appeared, disappeared, moved or changed their content."""
        # Entries are compared by overlay, content and box: a moved overlay is in both lists, with both boxes.
        gone = [entry for entry in self._shown if entry not in shown]
        come = [entry for entry in shown if entry not in self._shown]
        return [box for _, _, box in (*gone, *come)]


class Toast(Overlay):
    """A message shown for a few seconds, such as the path of a screenshot, or why there is none."""

    SHOWN_NS = 4_000_000_000
    LETTER_NS = 40_000_000
    """A long message is shown for this time per character."""
    ROWS_MAX = 3
    # Width of the card that is not text, in units.
    _BESIDE = 52

    def __init__(self) -> None:
        self._text, self._role, self._until_ns = "", "green", 0

    def show(self, text: str, now_ns: int, role: str = "green") -> None:
        """Show this message instead of the present one, in the theme's colour of this role."""
        # Reading time: a path may be much longer than a word.
        shown_ns = max(self.SHOWN_NS, len(text) * self.LETTER_NS)
        self._text, self._role, self._until_ns = shown(text), role, now_ns + shown_ns

    def advance(self, now_ns: int) -> None:
        """Hide the message when its time is over."""
        if now_ns >= self._until_ns:
            self._text = ""

    def content(self, scene: Scene) -> object:
        return self._text or None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        rows = self._rows(screen.width - pen.px(80 + self._BESIDE), pen)
        width = min(max(pen.width(row, theme.BODY) for row in rows) + pen.px(self._BESIDE), screen.width - pen.px(80))
        box = pygame.Rect(0, 0, width, pen.px(38) + (len(rows) - 1) * pen.line_height(theme.BODY))
        box.midbottom = (screen.centerx, screen.bottom - pen.px(84))  # Above the status line.
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        color = pen.theme.color(self._role)
        pen.card(target, box, pen.theme.raised, color)
        pen.dot(target, (box.left + pen.px(18), box.centery), color)
        height, width = pen.line_height(theme.BODY), box.width - pen.px(self._BESIDE)
        rows = self._rows(width, pen)
        room = pygame.Rect(box.left + pen.px(32), box.centery - len(rows) * height // 2, width, 0)
        pen.write_rows(target, rows, room, theme.BODY)

    def _rows(self, width: int, pen: Painter) -> list[str]:
        return pen.wrapped(self._text, width, theme.BODY, self.ROWS_MAX)


class PauseMark(Overlay):
    """Says over the canvas that the display is frozen."""

    TEXT = "paused"
    NOTE = "the server keeps running; Space resumes"

    def __init__(self) -> None:
        self.canvas = pygame.Rect(0, 0, 0, 0)
        """The box of the canvas."""

    def content(self, scene: Scene) -> object:
        return (self.TEXT, self.canvas.topleft) if scene.paused else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        width = pen.width(self.TEXT, theme.TITLE) + pen.width(self.NOTE, theme.NOTE) + pen.px(12 + 2 * 16)
        box = pygame.Rect(0, 0, width, pen.px(36))
        box.midtop = (self.canvas.centerx, self.canvas.top + pen.px(14))
        return box.clamp(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.orange)
        inner = box.inflate(-2 * pen.px(16), 0)
        word = pen.write(target, self.TEXT, inner, theme.TITLE)
        left = word.right + pen.px(12)
        pen.write(target, self.NOTE, pygame.Rect(left, box.top, inner.right - left, box.height), theme.NOTE)


class Caption(Overlay):
    """A sentence large enough for an audience, such as the tour's comment on what is shown. Set from outside.

    It covers the two bottom rows and the tools, which no caption mentions.
    """

    ROWS_MAX = 3
    NOTE = "page down: next   page up: back"

    def __init__(self) -> None:
        self.text = ""
        self.guided = False
        """Whether the keys for the next and previous scenario work."""

    def content(self, scene: Scene) -> object:
        return (self.text, self.guided) if self.text else None

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        width = screen.width - pen.px(32)
        height = len(self._rows(width, pen)) * pen.line_height(theme.CAPTION) + pen.px(16) + self._note_height(pen)
        box = pygame.Rect(0, 0, width, height)
        # At the bottom, over the hints: the caption speaks of what is above.
        box.midbottom = (screen.centerx, screen.bottom - pen.px(4))
        return box

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.sky, radius=8)
        pen.write_rows(target, self._rows(box.width, pen), box.move(0, pen.px(8)), theme.CAPTION, "center")
        if self.guided:
            note = self._note_height(pen)
            foot = pygame.Rect(box.left, box.bottom - note - pen.px(4), box.width - pen.px(12), note)
            pen.write(target, self.NOTE, foot, theme.LABEL, "right")

    def _note_height(self, pen: Painter) -> int:
        return pen.line_height(theme.LABEL) if self.guided else 0

    def _rows(self, width: int, pen: Painter) -> list[str]:
        return pen.wrapped(self.text, width - pen.px(40), theme.CAPTION, self.ROWS_MAX)


class Tooltip(Overlay):
    """A card beside the mouse about what is under it. Lines that are too long are wrapped."""

    _WIDTH_MAX, _ROWS_MAX, _PAD, _OFFSET = 340, 12, 9, 18

    def __init__(self) -> None:
        self._tip: tuple[str, tuple[int, int]] | None = None

    def show(self, tip: tuple[str, tuple[int, int]] | None) -> None:
        """Show this text beside this position; None: nothing."""
        self._tip = tip

    def content(self, scene: Scene) -> object:
        return self._tip

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        """Below the mouse, or above it where there is no room."""
        assert self._tip is not None
        rows, (x, y) = self._rows(pen), self._tip[1]
        pad, offset = pen.px(self._PAD), pen.px(self._OFFSET)
        width = max(pen.width(row, theme.NOTE) for row in rows) + 2 * pad
        box = pygame.Rect(x + offset // 2, y + offset, width, len(rows) * pen.line_height(theme.NOTE) + 2 * pad)
        if box.bottom > screen.bottom:
            box.bottom = y - offset // 2
        return box.clamp(screen)

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.faint, radius=4)
        height, pad = pen.line_height(theme.NOTE), pen.px(self._PAD)
        row = pygame.Rect(box.left + pad, box.top + pad, box.width - 2 * pad, height)
        for index, text in enumerate(self._rows(pen)):
            pen.write(target, text, row.move(0, index * height), theme.BODY if index == 0 else theme.NOTE)

    def _rows(self, pen: Painter) -> list[str]:
        assert self._tip is not None
        rows: list[str] = []
        for line in self._tip[0].splitlines():
            # Each line of the text starts a row; only lines that are too long are broken.
            rows += pen.wrapped(line, pen.px(self._WIDTH_MAX), theme.NOTE, self._ROWS_MAX)
        return rows[: self._ROWS_MAX]


def loading_text(part: Part, reading: Reading) -> str:
    """What a process is starting with: `compiling kernels 7 of 19, once per machine`."""
    if part.failure:
        return "failed"
    # A finished step is not shown: the process goes on with the next state.
    if part.progress and part.progress.done < part.progress.total:
        steps = f"{format_whole(part.progress.done)} of {format_whole(part.progress.total)}"
        if part.state == "compiling":
            return f"compiling kernels {steps}, once per machine"
        if part.progress.what == part.state:
            return f"{part.state} {steps}"
        return f"{part.state}: {part.progress.what}, {steps}"
    if part.state == "connecting" and reading.connection_target:
        done, target = format_whole(reading.connection_count or 0), format_whole(reading.connection_target)
        return f"connecting {done} of {target}"
    return part.state


def loading_ratio(part: Part, reading: Reading) -> float:
    """How far a process has started, 0..1."""
    # These states come after the start, whatever progress was reported last.
    if part.state in ("running", "draining", "stopped"):
        return 1.0
    if part.progress and part.progress.total:
        return part.progress.done / part.progress.total
    if part.state == "connecting" and reading.connection_target:
        return (reading.connection_count or 0) / reading.connection_target
    return 0.0


class LoadingCard(Overlay):
    """Over the canvas until there is something to show: a row and a progress bar for each process."""

    _WIDTH, _ROW, _MARGIN, _TITLE_ROW = 500, 48, 20, 44

    def __init__(self) -> None:
        self.canvas = pygame.Rect(0, 0, 0, 0)
        """The box of the canvas."""

    def content(self, scene: Scene) -> object:
        if not scene.loading:
            return None
        reading, parts = scene.view.reading, scene.view.parts
        rows = tuple((part.name, loading_text(part, reading), loading_ratio(part, reading)) for part in parts)
        return rows, self.canvas.topleft

    def box(self, scene: Scene, screen: pygame.Rect, pen: Painter) -> pygame.Rect:
        height = self._TITLE_ROW + len(scene.view.parts) * self._ROW + 2 * self._MARGIN - 10
        box = pygame.Rect(0, 0, pen.px(self._WIDTH), pen.px(height))
        box.center = self.canvas.center
        return box.clamp(screen.inflate(-2 * pen.px(self._MARGIN), 0))

    def draw(self, target: pygame.Surface, box: pygame.Rect, scene: Scene, pen: Painter) -> None:
        pen.card(target, box, pen.theme.raised, pen.theme.line, radius=10)
        inner = box.inflate(-2 * pen.px(self._MARGIN), -2 * pen.px(self._MARGIN))
        title = pygame.Rect(inner.left, inner.top, inner.width, pen.px(self._TITLE_ROW - 18))
        name = scene.view.scenario_name
        pen.write(target, f"{name} did not start" if scene.view.failures else f"Starting {name}", title, theme.TITLE)
        for index, part in enumerate(scene.view.parts):
            top = inner.top + pen.px(self._TITLE_ROW + index * self._ROW)
            row = pygame.Rect(inner.left, top, inner.width, pen.px(self._ROW))
            self._draw_row(target, row, part, scene.view.reading, pen)

    @staticmethod
    def _draw_row(target: pygame.Surface, row: pygame.Rect, part: Part, reading: Reading, pen: Painter) -> None:
        line = pygame.Rect(row.left, row.top, row.width, pen.px(22))
        color = pen.theme.color("vermilion" if part.failure else theme.STATE_ROLES.get(part.state, "faint"))
        name = pen.write(target, f"{part.name}:", line, theme.BODY)
        left = name.right + pen.px(6)
        words = pygame.Rect(left, line.top, line.right - left, line.height)
        pen.write(target, loading_text(part, reading), words, theme.NOTE)
        bar = pygame.Rect(row.left, line.bottom + pen.px(4), row.width, pen.px(4))
        pen.bar(target, bar, loading_ratio(part, reading), color)
