"""The canvas of the mailbox server: one queue of actions, one task that carries them out, and the tick for viewers.

Plain asyncio, nothing compiled, no batches: each placement is an action, and only the one task and the tick touch the
canvas. When placements come faster than the task applies them, the queue grows; what finds it full is shed.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from server.config import ServerConfig
from server.engine.canvas import Canvas, encode_snapshot, snapshot_of
from server.engine.engine import COMPRESS_BYTES_MIN
from server.ipc.page import Page
from server.journal.journal import Journal
from server.journal.store import TickEntry
from server.kernels.layout import TICK_ROWS, Stage
from server.mailbox.client import MailboxClient, QueuedFrame
from server.mailbox.tally import Tally, TileCounts
from server.protocol.blocks import encode_block, tile_colors
from server.protocol.messages import Ping, Pong, Subscribe, write_body
from server.protocol.websocket import encode_frame, parse_head
from server.system import checks, clock
from server.wire import DELTA, TILE_SIDE, Opcode, ServerOp

MAILBOX_MAX = 65_536
"""Actions that may wait: about a second's worth. More would only make all changes older."""
LOOK_S = 0.5
"""Longest sleep of the tick task: a tick interval that is made shorter applies within this time."""

# Tiles, half open, and the tick up to which their viewer has all changes.
Watched = tuple[tuple[int, int, int, int], int]


def encode_delta(
    pixels: NDArray[np.uint8], pixel_tick: NDArray[np.uint32], tiles: Iterable[int], since: int, tick: int
) -> tuple[bytes, int]:
    """The DELTA of `tick` with all that changed after tick `since` in these tiles, given by ascending numbers.

    pixels, pixel_tick: shape (height, width). Returns the message and its number of pixels; b"" when nothing changed.
    It is the obvious form of the compiled encoder. Cost: O(tiles).
    """
    across = -(-pixels.shape[1] // TILE_SIDE)
    blocks, pixel_count = [], 0
    for tile in tiles:
        top, left = tile // across * TILE_SIDE, tile % across * TILE_SIDE
        area = np.s_[top : top + TILE_SIDE, left : left + TILE_SIDE]
        rows, columns = np.nonzero(pixel_tick[area] > since)
        if len(rows):
            colors = pixels[area][rows, columns].tobytes()
            offsets = (rows * TILE_SIDE + columns).tolist()
            blocks.append(encode_block(tile, offsets, colors, tile_colors(pixels, tile)))
            pixel_count += len(offsets)
    if not blocks:
        return b"", 0
    raw = b"".join(blocks)
    encoding, body = write_body(raw, compress=len(raw) >= COMPRESS_BYTES_MIN)
    return DELTA.pack(ServerOp.DELTA, encoding, len(blocks), tick & 0xFFFFFFFF) + body, pixel_count


class MailboxCanvas:
    """The canvas, its queue and its tick. `clients` is the server's set, which only the server changes."""

    def __init__(
        self,
        config: ServerConfig,
        telemetry: Page,
        canvas_page: Page,
        tally: Tally,
        clients: Iterable[MailboxClient],
        journal: Journal | None = None,
    ) -> None:
        """`journal`: the recording that ticks are written to. The tick does not wait for it."""
        assert journal is None or not journal.gates
        self._journal = journal
        self.config = config
        # The last finished tick.
        self.tick = 0
        self._telemetry = telemetry
        self._canvas = Canvas(config, canvas_page)
        self._pixel_tick, self._tile_tick = canvas_page["pixel_tick"], canvas_page["tile_tick"]
        self._painter, self._tiles = canvas_page["pixel_painter"], TileCounts(canvas_page)
        self._tally, self._counts, self._admit_row = tally, tally.counts, tally.stages[Stage.ADMIT]
        self._clients = clients
        self._mailbox: asyncio.Queue[Callable[[], None]] = asyncio.Queue(MAILBOX_MAX)
        self._interval_ns = config.tick_ms * 1_000_000
        self._tick_ns = clock.now_ns()
        self._due_ns = self._tick_ns + self._interval_ns

    def adjust(self, config: ServerConfig) -> None:
        """Apply these settings from now on."""
        if config.tick_ms != self.config.tick_ms:
            self._interval_ns = config.tick_ms * 1_000_000
            self._due_ns = min(self._due_ns, clock.now_ns() + self._interval_ns)
        self.config = config

    # The queue.

    def admit(self, client: MailboxClient, x: int, y: int, color: int, now_ns: int) -> None:
        """Put a placement into the queue, or count why not."""
        self._counts["received_count"] += 1
        client.received_count += 1
        # Checked before it is queued, so that a dropped placement takes no place from others.
        if x >= self.config.width or y >= self.config.height:
            client.out_of_bounds_count += 1
            self._counts["out_of_bounds_count"] += 1
        elif not client.take_token(now_ns):
            self._counts["throttled_count"] += 1
            self._tiles.throttled[self._tiles.tile_of(x, y)] += 1
        # Waiting for room would let one fast connection hold up its own PINGs and reads, so placements are dropped.
        elif self._mailbox.full():
            client.shed_count += 1
            self._counts["shed_count"] += 1
            self._tally.stages[Stage.APPLY]["drop_count"] += 1
        else:
            self._counts["admitted_count"] += 1
            client.admitted_count += 1
            self._mailbox.put_nowait(partial(self._apply, client.number, x, y, color))
        self._admit_row["item_count"] += 1
        self._admit_row["busy_ns"] += clock.now_ns() - now_ns

    async def in_turn(self, action: Callable[[], None]) -> None:
        """Do this after all that is in the queue, and wait until it is done. It is never shed: its sender waits."""
        done = asyncio.Event()

        def act() -> None:
            action()
            done.set()

        await self._mailbox.put(act)
        await done.wait()

    async def run_actions(self) -> None:
        """The canvas task: carry out one action after the other."""
        row = self._tally.stages[Stage.APPLY]
        while True:
            act = await self._mailbox.get()
            self._tally.queued(Stage.APPLY, self._mailbox.qsize() + 1)
            begun_ns = clock.now_ns()
            act()
            # Not by `served`, nor at admission: a call per placement shows in what this server can take.
            row["item_count"] += 1
            row["busy_ns"] += clock.now_ns() - begun_ns

    def _apply(self, number: int, x: int, y: int, color: int) -> None:
        self._canvas.pixels[y, x] = color
        self._painter[y, x] = (number + 1) & 0xFFFFFFFF
        self._tiles.applied[self._tiles.tile_of(x, y)] += 1
        self._pixel_tick[y, x] = self.tick + 1
        self._tile_tick[y // TILE_SIDE, x // TILE_SIDE] = self.tick + 1
        self._counts["applied_count"] += 1

    async def ask(self, client: MailboxClient, order: Subscribe | Ping) -> None:
        """Answer an order in its turn, and wait until the answer is sent: so at most one is owed."""
        await self.in_turn(partial(self._answer, client, order))
        await client.outbox.join()

    def _answer(self, client: MailboxClient, order: Subscribe | Ping) -> None:
        # By the canvas task, so that it comes after all placements before it.
        payload = b""
        if isinstance(order, Ping):
            payload = Pong(order.nonce, self.tick).encode()
        else:
            self.unsubscribe(client)
            if not order.is_cancel and client.connection.can_send:
                payload = self._subscribe(client, order, clock.now_ns())
        if payload:
            client.outbox.put_nowait(QueuedFrame(encode_frame(Opcode.BINARY, payload)))

    def _subscribe(self, client: MailboxClient, order: Subscribe, now_ns: int) -> bytes:
        region = self._canvas.clip(order.x, order.y, order.width, order.height)
        client.tiles = self._canvas.tiles_of(region)
        client.interval_ns = order.interval_ms * 1_000_000
        client.due_ns = now_ns + client.interval_ns
        client.cursor = self.tick
        self._counts["subscriber_count"] += 1
        self._counts["snapshot_count"] += 1
        return encode_snapshot(snapshot_of(self._canvas.pixels, region, self.tick))

    def unsubscribe(self, client: MailboxClient) -> None:
        """Send it no more deltas."""
        self._counts["subscriber_count"] -= client.tiles is not None
        client.tiles = None

    # The tick.

    async def keep_time(self) -> None:
        """The tick task: finish a tick whenever one is due."""
        while True:
            await asyncio.sleep(min(LOOK_S, max(0, self._due_ns - clock.now_ns()) * 1e-9))
            now_ns = clock.now_ns()
            if now_ns >= self._due_ns:
                self.finish_tick(now_ns)

    def finish_tick(self, now_ns: int) -> None:
        """Finish a tick: queue a delta for each viewer that is owed one."""
        self.tick += 1
        frames: dict[Watched, QueuedFrame] = {}  # Viewers that watch the same get the same bytes.
        whole = self._canvas.tiles_of(self._canvas.clip(0, 0, 0, 0))
        # Of the whole canvas first, for telemetry and the recording; viewers of the whole get the same frame.
        merged = self._encode(frames, whole, self.tick - 1)
        encoded_ns, spacing_ns = clock.now_ns(), max(self._interval_ns, now_ns - self._tick_ns)
        if self._journal is not None and merged.pixel_count:
            self._record(self._journal, merged, now_ns)
        for client in self._clients:
            assert client.cursor < self.tick, "a viewer has more than the canvas"
            if client.is_owed_delta(self.tick, now_ns, spacing_ns) and client.tiles is not None:
                frame = self._encode(frames, client.tiles, client.cursor)
                lags = client.cursor < self.tick - 1 and client.interval_ns <= spacing_ns
                self._counts["conflated_count"] += lags and frame.pixel_count > 0
                client.cursor = self.tick
                if frame.pixel_count:
                    client.wait_interval(now_ns, spacing_ns)
                    client.outbox.put_nowait(frame)
        self._tally.queued(Stage.FANOUT, sum(client.outbox.qsize() for client in self._clients))
        self._tally.served(Stage.FANOUT, 0, clock.now_ns() - encoded_ns)
        self._publish(now_ns, merged, encoded_ns - now_ns)

    def _encode(self, frames: dict[Watched, QueuedFrame], tiles: tuple[int, int, int, int], since: int) -> QueuedFrame:
        """The delta of this tick for those who watch `tiles` and have all up to `since`; made once."""
        frame = frames.get((tiles, since))
        if frame is None:
            x0, y0, x1, y1 = tiles
            # Only tiles that changed are looked into: a large canvas has very many others.
            down, right = np.nonzero(self._tile_tick[y0:y1, x0:x1] > since)
            changed = (down + y0) * self._tile_tick.shape[1] + right + x0
            payload, pixel_count = encode_delta(
                self._canvas.pixels, self._pixel_tick, changed.tolist(), since, self.tick
            )
            frame = QueuedFrame(encode_frame(Opcode.BINARY, payload), pixel_count, payload[1] if payload else 0)
            frames[tiles, since] = frame
        return frame

    def _record(self, journal: Journal, merged: QueuedFrame, now_ns: int) -> None:
        """Hand the tick's changes to the recording."""
        head = parse_head(merged.data, 0)
        assert head is not None
        payload = merged.data[head.head_bytes :]
        _, encoding, tile_count, _ = DELTA.unpack_from(payload)
        pixels = self._canvas.pixels.tobytes() if journal.wants_snapshot(self.tick) else None
        counts = merged.pixel_count, tile_count, encoding
        self._tally.queued(Stage.JOURNAL, journal.waiting_count)
        journal.submit(TickEntry(self.tick, now_ns, *counts, payload[DELTA.size :], pixels))
        if journal.bug is not None:
            raise journal.bug

    def _publish(self, now_ns: int, merged: QueuedFrame, encode_ns: int) -> None:
        """Write the tick to the telemetry page and set the next tick's time."""
        tile_count = int((self._tile_tick == self.tick).sum())
        frame_bytes = len(merged.data) if merged.pixel_count else 0
        self._tally.queued(Stage.ENCODE, tile_count)
        self._tally.served(Stage.ENCODE, tile_count, encode_ns)
        self._counts["cpu_ns"] = clock.thread_cpu_ns()
        self._tiles.write(self.tick)
        self._tally.publish()
        ticks, row = self._telemetry["ticks"], self._telemetry["server"][0]
        lateness_ns, interval_ns = max(0, now_ns - self._due_ns), now_ns - self._tick_ns
        ticks["tick"][self.tick % TICK_ROWS] = self.tick  # First: readers take the row for unfinished from here on.
        ticks[self.tick % TICK_ROWS] = (
            self.tick, now_ns, lateness_ns, interval_ns, encode_ns, tile_count, merged.pixel_count, frame_bytes,
            merged.encoding, self._counts["admitted_count"], 0, self._tally.take_peaks(),
        )  # fmt: skip
        row["heartbeat_ns"], row["cpu_ns"] = now_ns, clock.process_cpu_ns()
        row["resident_bytes"] = clock.resident_bytes()
        row["tick_interval_ns"] = self._interval_ns
        row["merged_count"] += merged.pixel_count
        row["encoded_bytes"] += frame_bytes
        row["ledger_gap"] = self._tally.unaccounted()
        row["tick"] = self.tick  # Last: it says that the row above is whole.
        assert not checks.ARE_THOROUGH or row["ledger_gap"] == 0
        self._tick_ns = now_ns
        # After a late tick the schedule is kept, but never with less than half an interval between two.
        self._due_ns = max(self._due_ns + self._interval_ns, now_ns + self._interval_ns // 2)
