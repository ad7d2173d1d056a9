"""The mailbox server: what one writes first. One task per connection, one queue to a canvas task, one queue per viewer.

It speaks the same protocol as the loops, and is kept to compare with them, to test them, and to be read first. What it
lacks shows under load: a placement costs the same whether one waits or a thousand do, and nothing is done in batches.
It serves this machine only, and has no TLS, no limits per address, no brakes, no MQTT and no journal that gates.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from server.accept.listener import BACKLOG, connections_allowed, open_listener
from server.config import ServerConfig
from server.engine.canvas import NO_TOKENS_NS, new_hello
from server.ipc.page import Page
from server.journal.journal import open_journal, running
from server.kernels.layout import Stage, State
from server.mailbox.canvas import MAILBOX_MAX, MailboxCanvas
from server.mailbox.client import OUTBOX_MAX, READ_BYTES, MailboxClient, QueuedFrame, limits_of
from server.mailbox.tally import ClientRows, Tally
from server.protocol.connection import Connection, Role
from server.protocol.events import Closed, Event, Message, Refused, Request, Violated
from server.protocol.messages import Place, PlaceMany, decode_client_message
from server.protocol.websocket import CloseCode, ProtocolViolation, encode_frame
from server.system import clock, open_files
from server.web import dispatch, routes
from server.wire import PLACE_FRAME_BYTES, Opcode, tile_shape

# How long clients may take to answer the close frame before their sockets are closed.
DRAIN_S = 3.0
# How often connections are looked at.
WATCH_S = 0.1


class Mailbox:
    """One canvas server. In this order: `prepare`, `listen`, `run`; `stop` from any thread or signal handler."""

    def __init__(
        self, config: ServerConfig, telemetry: Page, canvas_page: Page, connections_page: Page | None = None
    ) -> None:
        self.config = config
        self.state = State.STARTING
        self._telemetry, self._page = telemetry, canvas_page
        self._row = telemetry["server"][0]
        self._limits = limits_of(config)
        open_files.raise_to_hard()
        self._clients_max = connections_allowed(config)
        across, down = tile_shape(config.width, config.height)
        depths_max = {Stage.ACCEPT: BACKLOG, Stage.DECODE: READ_BYTES, Stage.APPLY: MAILBOX_MAX}
        self._tally = Tally(telemetry, depths_max | {Stage.ENCODE: across * down})
        self._counts = self._tally.counts
        self._clients: set[MailboxClient] = set()
        self._rows = ClientRows(connections_page, self._clients_max)
        self._journal = open_journal(config, clock.now_ns())
        self._canvas = MailboxCanvas(config, telemetry, canvas_page, self._tally, self._clients, self._journal)
        self._all_left = asyncio.Event()
        self._all_left.set()
        self._numbers = 0
        self._loop = asyncio.new_event_loop()  # From the start, so that orders can come before `run`.
        self._stop = asyncio.Event()

    # Start and end.

    def prepare(self, progress: Callable[[int, int, str], None]) -> None:
        """Report that there is nothing to compile."""
        progress(1, 1, "")

    def listen(self) -> tuple[str, int]:
        """Bind and listen. Returns host and port. Raises CannotListen."""
        self._listener = open_listener(self.config)
        host, port = self._listener.getsockname()[:2]
        self._row["port"] = port
        return host, port

    def run(self) -> None:
        """Serve until `stop`, then drain. Raises what a task raised, which is a bug."""
        with running(self._journal), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())
        self._tally.publish()
        self._set_state(State.STOPPED)

    def stop(self) -> None:
        """Drain and return from `run`. May be called from any thread, from a signal handler, and twice."""
        self._order(self._stop.set)

    def adjust(self, config: ServerConfig) -> None:
        """Apply the live settings of `config`, but for tick_ms_max. May be called from any thread."""
        self._order(partial(self._adjust, config))

    def close_clients(self, loop: int) -> None:
        """Reset all connections at once, for this is one loop. May be called from any thread."""
        self._order(self._reset_clients)

    def _order(self, order: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # The event loop has ended already.
            self._loop.call_soon_threadsafe(order)

    def _adjust(self, config: ServerConfig) -> None:
        self.config = self.config.adjusted(config)
        self._limits = limits_of(self.config)
        for client in self._clients:
            client.hold_to(self._limits, clock.now_ns())
        self._canvas.adjust(self.config)

    def _reset_clients(self) -> None:
        for client in self._clients:
            client.reset()

    async def _live(self) -> None:
        """Accept connections, apply placements and finish ticks until `stop`; then drain."""
        self._set_state(State.RUNNING)
        canvas = self._canvas
        try:
            async with asyncio.TaskGroup() as tasks:
                chores = [tasks.create_task(chore()) for chore in (canvas.run_actions, canvas.keep_time, self._watch)]
                acceptor = await asyncio.start_server(
                    lambda reader, writer: tasks.create_task(self._serve(reader, writer)),
                    sock=self._listener,
                    limit=READ_BYTES,
                    backlog=BACKLOG,
                )
                with contextlib.closing(acceptor):
                    await self._stop.wait()
                self._set_state(State.DRAINING)
                await self._drain()
                for chore in chores:
                    chore.cancel()
        finally:
            for client in self._clients:
                client.writer.transport.abort()  # Only a bug leaves any.

    async def _drain(self) -> None:
        """Apply and show what was accepted; then close all connections, which have some time for it."""
        await self._finish_last_tick()
        for client in self._clients:
            client.connection.close(CloseCode.GOING_AWAY, "the server stops")
            client.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._all_left.wait()
        for client in self._clients:
            client.writer.transport.abort()
        await self._finish_last_tick()  # With what came in meanwhile.

    async def _finish_last_tick(self) -> None:
        await self._canvas.in_turn(lambda: None)
        self._canvas.finish_tick(clock.now_ns())

    def _set_state(self, state: State) -> None:
        self.state = state
        self._row["state"] = state

    # Watching over the connections.

    async def _watch(self) -> None:
        """Look at every connection again and again: its deadlines, its dropped placements, and whether it stalls."""
        while True:
            await asyncio.sleep(WATCH_S)
            now_ns = clock.now_ns()
            # A connection without a route is still in its opening handshake.
            self._tally.queued(Stage.ACCEPT, sum(not client.route for client in self._clients))
            for client in self._clients:
                self._keep_deadline(client, now_ns)
                if client.opened_ns:
                    self._check_conduct(client, now_ns)
            # The queues before these stages grow with the number of connections, and so do their limits.
            count, stages = max(1, len(self._clients)), self._tally.stages
            stages[Stage.READ]["depth_max"] = count
            stages[Stage.ADMIT]["depth_max"] = count * (READ_BYTES // PLACE_FRAME_BYTES)
            stages[Stage.FANOUT]["depth_max"] = count * OUTBOX_MAX
            self._counts["outbox_bytes"] = sum(client.owed_bytes for client in self._clients)
            self._rows.write()

    def _keep_deadline(self, client: MailboxClient, now_ns: int) -> None:
        deadline_ns = client.connection.next_deadline_ns()
        if deadline_ns is None or now_ns < deadline_ns:
            return
        for event in client.connection.on_timer(now_ns):
            if isinstance(event, Refused):
                self._counts["protocol_error_count"] += 1
                client.flush()
            elif isinstance(event, Closed):
                client.reset()  # Its peer did not take in time what it is still owed.

    def _check_conduct(self, client: MailboxClient, now_ns: int) -> None:
        report = client.report(now_ns)
        if report is not None:
            client.outbox.put_nowait(QueuedFrame(encode_frame(Opcode.BINARY, report.encode())))
        if client.has_stalled(now_ns):
            self._counts["evicted_count"] += 1
            client.reset()  # It would not read a close frame.
        elif client.connection.is_open and client.is_over_limit(now_ns):
            self._counts["evicted_count"] += 1
            client.connection.close(CloseCode.POLICY_VIOLATION, "over the rate limit for too long")
            client.flush()

    # A connection.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from its first byte to its last: one task receives, one sends."""
        now_ns = clock.now_ns()
        connection = Connection(Role.SERVER, now_ns, handshake_ns=int(self.config.handshake_s * 1e9))
        client = MailboxClient(reader, writer, connection, self._limits, progress_ns=now_ns)
        self._counts["accepted_count"] += 1
        self._tally.served(Stage.ACCEPT, 1, 0)
        if len(self._clients) < self._clients_max:
            self._clients.add(client)
            self._rows.enter(client)
            self._all_left.clear()
            try:
                async with asyncio.TaskGroup() as pair:
                    # If one of the pair fails, the group ends the other one as well.
                    sender = pair.create_task(self._send(client))
                    await self._receive(client)
                    sender.cancel()
            except* OSError:
                connection.receive_eof(clock.now_ns())  # The socket failed: nothing more can be sent.
            self._forget(client)
        await self._close(client)

    def _forget(self, client: MailboxClient) -> None:
        self._clients.discard(client)
        self._rows.leave(client)
        if not self._clients:
            self._all_left.set()
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

    async def _receive(self, client: MailboxClient) -> None:
        """Take what the peer sends, until the connection says `Closed`."""
        while True:
            data = await client.reader.read(READ_BYTES)
            now_ns = clock.now_ns()
            if not data:
                client.connection.receive_eof(now_ns)
                return
            self._counts["read_count"] += 1
            self._counts["received_bytes"] += len(data)
            client.received_bytes += len(data)
            self._tally.queued(Stage.DECODE, len(data))
            events = client.connection.receive_data(data, now_ns)
            self._tally.served(Stage.DECODE, len(data), clock.now_ns() - now_ns)
            is_over = await self._act(client, events)
            while client.connection.has_more and not is_over:  # Few compressed bytes may hold many messages.
                is_over = await self._act(client, client.connection.receive_data(b"", clock.now_ns()))
            if is_over:
                return
            # A read that is buffered already does not wait: without this, a fast sender would be served alone.
            await asyncio.sleep(0)

    async def _act(self, client: MailboxClient, events: list[Event]) -> bool:
        """Act on events in order; answering one may bring more. True when the last was `Closed`."""
        self._tally.queued(Stage.ADMIT, len(events))
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
                    # Compressing a large canvas takes long, and would stop all connections.
                    answer = await asyncio.to_thread(routes.picture, self._page["pixels"])
                    if client.connection.awaits_answer:
                        client.connection.respond(*answer)
            elif isinstance(event, Violated | Refused):
                self._counts["protocol_error_count"] += 1
            elif isinstance(event, Closed):
                is_over = True
        if client.connection.output_ended:
            self._tally.publish()  # So that a client that sees the end finds it counted.
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
            client.full_ns = NO_TOKENS_NS if is_viewer else 0
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
                raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "text messages are not supported on /canvas")
            order = decode_client_message(message.data)
        except ProtocolViolation as violation:
            self._counts["protocol_error_count"] += 1
            client.is_refused = True
            client.connection.close(violation.close_code, violation.reason)
            return
        if isinstance(order, Place):
            self._canvas.admit(client, order.x, order.y, order.color, clock.now_ns())
        elif isinstance(order, PlaceMany):
            now_ns = clock.now_ns()
            for placement in order.placements:
                self._canvas.admit(client, *placement, now_ns)
        else:
            client.flush()  # Earlier answers leave before this one.
            await self._canvas.ask(client, order)

    async def _send(self, client: MailboxClient) -> None:
        """Send what is put into the outbox. A peer that takes nothing is waited for here, and nowhere else."""
        while True:
            frame = await client.outbox.get()
            begun_ns = clock.now_ns()
            if client.connection.can_send:
                client.writer.write(frame.data)
                size, is_delta = len(frame.data), frame.pixel_count > 0
                self._counts["send_count"] += 1
                self._counts["sent_bytes"] += size
                client.sent_bytes += size
                client.delta_count += is_delta
                self._counts["delta_count"] += is_delta
                self._counts["delta_bytes"] += size * is_delta
                self._counts["delta_pixel_count"] += frame.pixel_count
            self._tally.served(Stage.FANOUT, 1, clock.now_ns() - begun_ns)
            await client.writer.drain()
            client.outbox.task_done()
