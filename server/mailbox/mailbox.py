"""The mailbox server: what one writes first. A task a connection, one mailbox to a canvas task, a queue a viewer.

It obeys the same protocol as the loops and is kept to compare with them, to test them, and to be read first. What it
lacks is on show: a letter costs the same whether one waits or a thousand do, and nothing is handled as a batch.
Invariant: a connection waits for itself alone; what it shares with others is the mailbox.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from server.accept.listener import BACKLOG, connections_allowed, open_listener
from server.config import Brakes, ServerConfig
from server.engine.canvas import new_hello, new_rules
from server.engine.live_settings import NEVER_NS, merge_live
from server.ipc.page import Page
from server.journal.journal import open_journal, running
from server.kernels.layout import Stage, State, tile_shape
from server.mailbox.acceptor import Acceptor
from server.mailbox.canvas import MAILBOX_MAX, MailboxCanvas
from server.mailbox.client import OUTBOX_MAX, PLACE_FRAME_BYTES, READ_BYTES, Limits, MailboxClient
from server.mailbox.serial_brake import SerialBrake
from server.mailbox.sweeper import Sweeper
from server.mailbox.tally import Tally
from server.mailbox.view import ClientRows
from server.protocol.connection import Connection, Role
from server.protocol.events import Closed, Event, Message, Refused, Request, Violated
from server.protocol.messages import Place, PlaceMany, decode_client_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.system import clock, open_files
from server.tls.certificate import context_of
from server.tls.front import TlsTerminator
from server.web import dispatch, routes

DRAIN_S = 3.0
"""How long clients may take to answer the close frame before their sockets are closed."""


def _limits_of(config: ServerConfig) -> Limits:
    rules = new_rules(config)[0]
    return Limits(*(int(rules[name]) for name in ("token_ns", "burst_ns", "stall_ns", "evict_ns")))


class Mailbox:
    """One canvas server. In this order: `prepare`, `listen`, `run`; `stop` from any thread or signal handler."""

    def __init__(
        self, config: ServerConfig, telemetry: Page, canvas_page: Page, connections_page: Page | None = None
    ) -> None:
        self.config = config
        self.state = State.STARTING
        self._telemetry, self._page = telemetry, canvas_page
        self._row = telemetry["server"][0]
        self._limits = _limits_of(config)
        self._admit_brake = SerialBrake()
        self._orders: deque[Callable[[], None]] = deque()
        """What other threads ask for, to be carried out by the event loop."""
        open_files.raise_to_hard()
        self._clients_max = connections_allowed(config)
        self._tally = Tally(telemetry, self._depths_max())
        self._counts = self._tally.counts
        self._clients: set[MailboxClient] = set()
        self._rows = ClientRows(connections_page, self._clients_max)
        self._patrol = Sweeper(self._clients, self._rows, self._tally)
        self._journal = open_journal(config, clock.now_ns())
        self._canvas = MailboxCanvas(config, telemetry, canvas_page, self._tally, self._clients, self._journal)
        self._deserted = asyncio.Event()
        self._deserted.set()
        self._numbers = 0
        self._front: TlsTerminator | None = None
        self._door: Acceptor
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked = False
        self._stop_bell = asyncio.Event()

    def _depths_max(self) -> dict[Stage, int]:
        across, down = tile_shape(self.config.width, self.config.height)
        return {
            Stage.ACCEPT: BACKLOG,
            Stage.READ: self._clients_max,
            Stage.DECODE: READ_BYTES,
            Stage.ADMIT: READ_BYTES // PLACE_FRAME_BYTES,
            Stage.APPLY: MAILBOX_MAX,
            Stage.ENCODE: across * down,
            Stage.FANOUT: self._clients_max * OUTBOX_MAX,
        }

    # Its life.

    def prepare(self, progress: Callable[[int, int, str], None]) -> None:
        """Nothing is compiled here: it is ready at once, and says so."""
        progress(1, 1, "")

    def listen(self) -> tuple[str, int]:
        """Bind and listen. Returns host and port. Raises CannotListen."""
        context = context_of(self.config)
        listener = open_listener(self.config)
        if context is not None:
            self._front = TlsTerminator(
                context,
                lambda decrypted: self._door.hand_in(decrypted),
                self.stop,
                self._telemetry["server"],
                connections_max=self._clients_max,
                handshake_ns=int(self.config.handshake_s * 1e9),
            )
        self._door = Acceptor(listener, self.config, self._counts, self._front, READ_BYTES)
        host, port = listener.getsockname()[:2]
        self._row["port"] = port
        return host, port

    def run(self) -> None:
        """Serve until `stop`, then drain. Raises what a task raised, which is a bug."""
        with running(self._journal):
            asyncio.run(self._live())
        bug = None if self._front is None else self._front.close()
        self._tally.publish()
        self._set_state(State.STOPPED)
        if bug is not None:
            raise bug

    def stop(self) -> None:
        """Drain and return from `run`. May be called from any thread, from a signal handler, and twice."""
        self._stop_asked = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # It has ended already.
                self._loop.call_soon_threadsafe(self._stop_bell.set)

    def adjust(self, config: ServerConfig) -> None:
        """Go by the live settings of `config` from now on (see `control.Adjust`). May be called from any thread.

        Of the brakes it has those of admit and apply; there is no tick that could stretch, so no `tick_ms_max`.
        """
        self._order(partial(self._adjust, config))

    def close_clients(self, loop: int) -> None:
        """Reset all connections at once, for this is one loop. May be called from any thread."""
        self._order(self._reset_clients)

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # It has ended already.
                self._loop.call_soon_threadsafe(self._carry_out)

    def _carry_out(self) -> None:
        while self._orders:
            self._orders.popleft()()

    def _adjust(self, config: ServerConfig) -> None:
        self.config = merge_live(self.config, config)
        self._limits = _limits_of(self.config)
        for client in self._clients:
            client.hold_to(self._limits, clock.now_ns())
        self._canvas.adjust(self.config)
        self._admit_brake.release()

    def _reset_clients(self) -> None:
        for client in self._clients:
            client.reset()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._carry_out()
        if self._stop_asked:
            self._stop_bell.set()
        self._set_state(State.RUNNING)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._keep_house(tasks)
        finally:
            for client in self._clients:
                client.writer.transport.abort()  # Only a bug leaves any.

    async def _keep_house(self, tasks: asyncio.TaskGroup) -> None:
        """Let connections in and keep canvas, time and order, until it is time to drain."""

        def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.create_task(self._serve(reader, writer))

        canvas = self._canvas
        chores = [tasks.create_task(chore()) for chore in (canvas.open_letters, canvas.keep_time, self._patrol.walk)]
        self._door.open(welcome)
        with contextlib.closing(self._door):
            await self._stop_bell.wait()
        self._set_state(State.DRAINING)
        await self._drain()
        for chore in chores:
            chore.cancel()

    async def _drain(self) -> None:
        """What was accepted is applied and shown; then all are told to go, and have some time for it."""
        self._adjust(msgspec.structs.replace(self.config, brakes=Brakes()))
        await self._canvas.in_turn(lambda: None)
        self._canvas.finish_tick(clock.now_ns())
        for client in self._clients:
            client.connection.close(CloseCode.GOING_AWAY, "the server stops")
            client.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._deserted.wait()
        for client in self._clients:
            client.writer.transport.abort()
        await self._canvas.in_turn(lambda: None)  # What came in while they were told.
        self._canvas.finish_tick(clock.now_ns())

    def _set_state(self, state: State) -> None:
        self.state = state
        self._row["state"] = state

    # A connection.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its first byte to its last: one task hears it, one speaks to it."""
        now_ns = clock.now_ns()
        connection = Connection(Role.SERVER, now_ns, handshake_ns=int(self.config.handshake_s * 1e9))
        client = MailboxClient(reader, writer, connection, self._limits, progress_ns=now_ns)
        self._counts["accepted_count"] += 1
        self._tally.served(Stage.ACCEPT, 1, 0)
        if len(self._clients) < self._clients_max:
            self._clients.add(client)
            self._rows.enter(client)
            self._deserted.clear()
            try:
                async with asyncio.TaskGroup() as pair:
                    speaker = pair.create_task(self._speak(client))
                    await self._hear(client)
                    speaker.cancel()
            except* OSError:
                connection.receive_eof(clock.now_ns())  # The socket failed; whatever was to be said, nobody hears it.
            self._forget(client)
        await self._close(client)

    def _forget(self, client: MailboxClient) -> None:
        self._clients.discard(client)
        self._rows.leave(client)
        if not self._clients:
            self._deserted.set()
        self._canvas.unsubscribe(client)
        self._counts["deflated_count"] -= client.connection.is_deflated
        if client.opened_ns:
            self._counts["connection_count"] -= 1

    async def _close(self, client: MailboxClient) -> None:
        """Close the socket when its last byte is out, or after some time."""
        self._counts["closed_count"] += 1
        client.writer.close()
        try:
            async with asyncio.timeout(DRAIN_S):
                await client.writer.wait_closed()
        except TimeoutError:
            client.reset()
        except OSError:
            pass  # It failed, so it is closed all the same.

    async def _hear(self, client: MailboxClient) -> None:
        """Take what the peer sends, until the connection says `Closed`."""
        while True:
            data = await client.reader.read(READ_BYTES)
            begun_ns = clock.now_ns()
            if not data:
                client.connection.receive_eof(begun_ns)
                return
            self._counts["read_count"] += 1
            self._counts["received_bytes"] += len(data)
            client.received_bytes += len(data)
            self._tally.queued(Stage.DECODE, len(data))
            events = client.connection.receive_data(data, begun_ns)
            self._tally.served(Stage.DECODE, len(data), clock.now_ns() - begun_ns)
            is_over = await self._act(client, events)
            while client.connection.has_more and not is_over:
                is_over = await self._act(client, client.connection.receive_data(b"", clock.now_ns()))
            if is_over:
                return
            # What is buffered already does not make a reader wait: without this a fast sender would be heard alone.
            await asyncio.sleep(0)

    async def _act(self, client: MailboxClient, events: list[Event]) -> bool:
        """Act on events in order; answering one may bring more. True when the last was `Closed`."""
        self._tally.queued(Stage.ADMIT, len(events) + self._admit_brake.waiting)
        is_over = False
        position = 0
        while position < len(events):
            event = events[position]
            position += 1
            if isinstance(event, Message):
                await self._take_message(client, event)
            elif isinstance(event, Request):
                events[position:position] = self._answer_request(client, event)
                if client.route == routes.PICTURE_PATH:
                    answer = await asyncio.to_thread(routes.picture, self._page["pixels"])
                    if client.connection.awaits_answer:
                        client.connection.respond(*answer)
            elif isinstance(event, Violated | Refused):
                self._counts["protocol_error_count"] += 1
            elif isinstance(event, Closed):
                is_over = True
        if client.connection.output_ended:
            self._tally.publish()  # Whoever sees the end finds it counted.
        client.flush()
        await client.writer.drain()
        return is_over

    def _answer_request(self, client: MailboxClient, request: Request) -> list[Event]:
        now_ns = clock.now_ns()
        client.route, is_viewer, behind = dispatch.receive(
            client.connection, request, self.config, self._telemetry, now_ns, self._counts["deflated_count"]
        )
        self._counts["deflated_count"] += client.connection.is_deflated
        if client.route == routes.CANVAS_PATH:
            self._numbers += 1
            client.number, client.opened_ns = self._numbers, now_ns
            client.full_ns = NEVER_NS if is_viewer else 0
            self._counts["connection_count"] += 1
            if client.connection.can_send:
                hello = new_hello(self.config, self._numbers, is_viewer=is_viewer)
                client.connection.send_binary(hello.encode())
        client.flush()
        return behind

    async def _take_message(self, client: MailboxClient, message: Message) -> None:
        if client.is_refused:
            return
        if client.route == routes.ECHO_PATH:
            dispatch.echo(client.connection, message.data, message.is_text)
            return
        try:
            if message.is_text:
                raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "text is not spoken on /canvas")
            order = decode_client_message(message.data)
        except ProtocolViolation as violation:
            self._counts["protocol_error_count"] += 1
            client.is_refused = True
            client.connection.close(violation.close_code, violation.reason)
            return
        if isinstance(order, Place | PlaceMany):
            letters = len(order.placements) if isinstance(order, PlaceMany) else 1
            added_ns = await self._admit_brake.pay(self.config.brakes.admit, letters)
            self._tally.served(Stage.ADMIT, 0, added_ns)
        if isinstance(order, Place):
            self._canvas.admit(client, order.x, order.y, order.color, clock.now_ns())
        elif isinstance(order, PlaceMany):
            now_ns = clock.now_ns()
            for placement in order.placements:
                self._canvas.admit(client, *placement, now_ns)
        else:
            client.flush()  # What was answered before this is to leave before its answer.
            await self._canvas.ask(client, order)

    async def _speak(self, client: MailboxClient) -> None:
        """Send what is put into the outbox; a peer that takes nothing is waited for here, and nowhere else."""
        while True:
            letter = await client.outbox.get()
            begun_ns = clock.now_ns()
            if client.connection.can_send:
                client.writer.write(letter.frame)
                self._counts["send_count"] += 1
                self._counts["sent_bytes"] += len(letter.frame)
                client.sent_bytes += len(letter.frame)
                client.delta_count += letter.pixel_count > 0
                self._counts["delta_count"] += letter.pixel_count > 0
                self._counts["delta_bytes"] += len(letter.frame) if letter.pixel_count else 0
                self._counts["delta_pixel_count"] += letter.pixel_count
            self._tally.served(Stage.FANOUT, 1, clock.now_ns() - begun_ns)
            await client.writer.drain()
            client.outbox.task_done()
