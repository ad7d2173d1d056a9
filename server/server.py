"""A server: one engine, its loops, a listener, and their start and end. Threads meet once a tick, nowhere else.

Each loop runs in a thread of its own. At a tick they wait for each other at a barrier, and the last one to arrive runs
the tick: so the engine needs no lock, and all loops always see the same state.
"""

import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from server.accept.listener import CannotListen, connections_allowed, open_listener
from server.bridge.broker import Broker
from server.bridge.loop import BridgeLoop
from server.config import ServerConfig
from server.engine.engine import Engine
from server.ipc.control import BrokerState
from server.ipc.page import Page
from server.journal.fault import JournalError, describe
from server.journal.journal import open_journal
from server.kernels.kernel import Warm, compile_all
from server.kernels.layout import State
from server.loops import native
from server.loops.loop import Loop
from server.loops.memory import MemoryLoop
from server.loops.native import NativeLoop, SinkLoop
from server.loops.portable import PortableLoop
from server.mailbox.mailbox import Mailbox
from server.mqtt.address import BrokerAddress, parse_broker
from server.protocol.messages import Notice
from server.system import checks, clock, open_files
from server.tls.certificate import context_of
from server.tls.terminator import TlsTerminator
from server.wire import NoticeCode

# How long clients may take to answer the close frame before their sockets are closed.
DRAIN_NS = 3_000_000_000
DRAIN_TICK_NS = 20_000_000


def kind_of_loop(config: ServerConfig) -> type[Loop]:
    """The loop that `config` asks for; the portable one where the system lacks what the native one needs."""
    if config.counts_only:
        return SinkLoop
    return NativeLoop if config.loop == "native" and native.is_possible() else PortableLoop


def open_server(
    config: ServerConfig, telemetry: Page, canvas: Page, link: Page | None = None, connections: Page | None = None
) -> "Server | Mailbox":
    """The server that `config.loop` asks for, over the pages that it writes. See `Server` for the last two.

    Raises JournalError when the server cannot continue from the journal that `config` names.
    """
    if config.loop == "mailbox":
        return Mailbox(config, telemetry, canvas, connections)
    return Server(config, telemetry, canvas, link, connections)


class Server:
    """One canvas server. In this order: `prepare`, `listen`, `run`; `stop` from any thread or signal handler.

    With a `link`, a page with `link_sections`, it also serves the fleet at its other end, in one more loop, whose row
    of `telemetry` comes after the others. With `connections`, a page with `connection_sections`, other processes can
    read the state of its connections.
    """

    def __init__(
        self,
        config: ServerConfig,
        telemetry: Page,
        canvas: Page,
        link: Page | None = None,
        connections: Page | None = None,
    ) -> None:
        self.config = config
        self.state = State.STARTING
        self._journal = open_journal(config, clock.now_ns())
        self._engine = Engine(config, telemetry, canvas, connections, self._journal)
        self._row = telemetry["server"][0]
        slots = connections_allowed(config)
        descriptors = open_files.raise_to_hard()  # Arrays have an entry for each.
        kind = kind_of_loop(config)
        self._loops = [kind(self._engine, slots, descriptors) for _ in range(config.loops)]
        self._memory_loops = [] if link is None else [MemoryLoop(self._engine, link)]
        # Called from any thread with one line for people: news of the kernels' cache or the broker.
        self.on_news: Callable[[str], None] = lambda text: None
        # Called from any thread with the state of the connection to the broker.
        self.on_broker: Callable[[BrokerState], None] = lambda state: None
        self._bridge = BridgeLoop(self._engine, self._take_broker_state) if config.has_bridge else None
        self._broker: Broker | None = None
        self._broker_address: BrokerAddress | None = None
        self._broker_until_ns = 0  # The broker is paused until then; 0: it is not paused.
        self._broker_state: BrokerState | None = None  # The last one that the broker thread has reported.
        self._broker_lock = threading.Lock()  # So that the state that is reported last is the newest.
        self._own_loops: list[MemoryLoop | BridgeLoop] = [*self._memory_loops]  # Those without sockets.
        if self._bridge is not None:
            self._own_loops.append(self._bridge)
        self._all_loops: list[Loop | MemoryLoop | BridgeLoop] = [*self._loops, *self._own_loops]
        # The last loop to arrive runs `_tick` while the others wait.
        self._barrier = threading.Barrier(len(self._all_loops), action=self._tick)
        self._listener: socket.socket | None = None
        self._tls: TlsTerminator | None = None
        # What other threads ask for, to be carried out, with the time, at the barrier.
        self._orders: deque[Callable[[int], None]] = deque()
        self._stop_requested = False
        self._drain_until_ns = 0
        self._resident_at_ns = 0
        self._bug: BaseException | None = None
        self._ended = threading.Event()
        # Held while the loops are woken and while they are released: `stop` may come at any time, also from a signal
        # handler that interrupts the thread that holds it.
        self._wake_lock = threading.RLock()
        self._is_released = False

    def prepare(self, progress: Callable[[int, int, str], None]) -> None:
        """Compile or load every kernel, so that no client waits for one. `progress(done, total, name)`.

        Faults of the cache are reported to `on_news`.
        """
        self._set_state(State.COMPILING)
        compile_all(self.warms(), progress, self.on_news)

    def warms(self) -> list[Warm]:
        """The kernels this server will call."""
        return self._loops[0].warms() + [warm for loop in self._own_loops for warm in loop.warms()]

    def listen(self) -> tuple[str, int]:
        """Bind and listen, and start the broker that is asked for. Returns host and port. Raises CannotListen."""
        # Before the port is taken: a fault of the certificate leaves nothing open.
        context = context_of(self.config)
        listener = open_listener(self.config)
        self._listener = listener
        if self._bridge is not None:
            self._join_broker(self._bridge)
        host, port = listener.getsockname()[:2]
        self._row["port"] = port
        if context is not None:
            self._tls = TlsTerminator(
                context,
                self._hand_in,
                self.stop,
                self._engine.telemetry["server"],
                connections_max=connections_allowed(self.config),
                handshake_ns=int(self.config.handshake_s * 1e9),
            )
        hand_out = self._hand_out if self._tls is None else self._tls.take
        self._loops[0].listen(listener, hand_out)
        return host, port

    def run(self) -> None:
        """Serve until `stop`, then drain. Raises what a loop raised, which is a bug.

        Raises JournalError when the last changes could not be written to the journal; no client has seen them.
        """
        now_ns = clock.now_ns()
        if self._journal is not None:
            self._journal.start(self._hurry)
        self._engine.start(now_ns)
        self._row["process_id"] = os.getpid()
        self._beat(now_ns)
        for own_loop in self._own_loops:
            own_loop.open(now_ns)
        self._set_state(State.RUNNING)
        threads = [
            threading.Thread(target=self._live, args=(loop,), name=f"loop {index}")
            for index, loop in enumerate(self._all_loops)
        ]
        try:
            for thread in threads:
                thread.start()
            if self._tls is not None:
                self._tls.start()
        except RuntimeError as refusal:
            self._fail(refusal)  # The system allows no more threads: those that have started wait for the others.
        self._ended.wait()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        self._set_state(State.STOPPED)
        with self._wake_lock:
            self._is_released = True
            for loop in self._all_loops:
                loop.release()
        # What the loops sent last is in the socket pairs: the terminator delivers it before it ends.
        if self._tls is not None:
            self._bug = self._bug or self._tls.close()
        if self._listener is not None:
            self._listener.close()
        if self._broker is not None:
            self._broker.close()
        self._close_journal()
        if self._bug is not None:
            raise self._bug

    @property
    def journal_notes(self) -> tuple[str, ...]:
        """What was lost of the journal when it was opened, one line each."""
        recovered = self._journal.recovered if self._journal is not None else None
        return tuple(recovered.notes) if recovered is not None else ()

    def _close_journal(self) -> None:
        """Close it once. Raises JournalError when it lacks the last changes."""
        journal, self._journal = self._journal, None
        if journal is not None and not journal.close() and journal.gates:
            raise JournalError(
                f"journal {self.config.journal} lacks the last changes, which no client has seen: "
                f"{describe(journal.disk_error)}"
            )

    def stop(self) -> None:
        """Drain and return from `run`. May be called from any thread or signal handler, twice, and after the end."""
        self._stop_requested = True
        self._hurry()

    def adjust(self, config: ServerConfig) -> None:
        """Apply the live settings of `config` (see `control.Adjust`). May be called from any thread."""
        self._order(partial(self._engine.adjust, config))

    def follow(self, number: int) -> None:
        """Note the journeys of the connection with this number; -1: of none. May be called from any thread."""
        self._order(lambda now_ns: self._engine.follow(number))

    def close_clients(self, loop: int) -> None:
        """Reset all connections of the loop with this index at once. May be called from any thread."""
        self._order(self._all_loops[loop].reset_clients)

    def _order(self, order: Callable[[int], None]) -> None:
        self._orders.append(order)
        self._hurry()

    def _hurry(self) -> None:
        # Before the loops are woken, as they look at it then.
        self._engine.is_hurried = True
        with self._wake_lock:
            if not self._is_released:
                for loop in self._all_loops:
                    loop.wake()

    def _hand_out(self, accepted: socket.socket) -> None:
        """Give a new socket to the loop that has the fewest. Called by the first loop, which accepts."""
        # Counts of other loops may be a moment old, which only makes the shares a little uneven.
        loop = min(self._loops, key=lambda candidate: candidate.client_count)
        loop.inbox.append(accepted)
        if loop is not self._loops[0]:
            loop.wake()

    def _hand_in(self, decrypted: socket.socket) -> None:
        """Give a socket from another thread to the loop that has the fewest."""
        with self._wake_lock:
            if self._is_released:
                decrypted.close()
                return
            loop = min(self._loops, key=lambda candidate: candidate.client_count)
            loop.inbox.append(decrypted)
            loop.wake()

    @property
    def broker_url(self) -> str:
        """The broker's URL for devices; "" without one, or before `listen`."""
        return "" if self._broker_address is None else self._broker_address.shown

    def pause_broker(self, seconds: float) -> None:
        """Pause the broker that was started here. May be called from any thread."""
        self._order(partial(self._pause_broker_for, int(seconds * 1e9)))

    def _pause_broker_for(self, for_ns: int, now_ns: int) -> None:
        if self._broker is not None:
            self._broker.pause()
            self._broker_until_ns = max(self._broker_until_ns, now_ns + for_ns)
            self._show_broker()

    def _resume_broker(self, now_ns: int) -> None:
        """Resume a paused broker when it is time."""
        if self._broker is not None and 0 < self._broker_until_ns <= now_ns:
            self._broker.resume()
            self._broker_until_ns = 0
            self._show_broker()

    @property
    def own_broker_url(self) -> str:
        """The same, for a broker that was started here; else ""."""
        return self.broker_url if self._broker is not None else ""

    def _join_broker(self, bridge: BridgeLoop) -> None:
        """Connect the bridge to the broker, which may have to be started first. Raises CannotListen."""
        try:
            if self.config.mqtt == "embedded":
                self._broker = Broker()
            address = parse_broker(self.config.mqtt) if self._broker is None else self._broker.address
            bridge.dial(address, address.shown if self._broker is None else self._broker.kind)
        except (CannotListen, ValueError) as fault:
            if self._listener is not None:
                self._listener.close()
            raise CannotListen(str(fault)) from None
        self._broker_address = address

    def _take_broker_state(self, state: BrokerState, text: str) -> None:
        """Called from the broker thread."""
        self._broker_state = state
        self._show_broker()
        if text:
            self.on_news(text)

    def _show_broker(self) -> None:
        with self._broker_lock:
            if self._broker_state is not None:
                self.on_broker(msgspec.structs.replace(self._broker_state, is_held=self._broker_until_ns > 0))

    def _live(self, loop: Loop | MemoryLoop | BridgeLoop) -> None:
        """One loop's thread."""
        closing = False
        try:
            while self.state != State.STOPPED:
                loop.serve()
                self._barrier.wait()
                if self.state == State.DRAINING and not closing:
                    closing = True
                    # Here and not in `_drain`: each loop touches its own sockets in its own thread.
                    loop.stop_listening()
                    loop.close_clients(clock.now_ns())
        except threading.BrokenBarrierError:
            pass  # Another loop failed and says why.
        except BaseException as bug:
            self._fail(bug)
        self._ended.set()

    def _fail(self, bug: BaseException) -> None:
        """End all loops, and have `run` raise this."""
        self._bug = bug
        # Wakes the loops that wait; the next line, those that serve.
        self._barrier.abort()
        self._hurry()
        self._ended.set()

    def _tick(self) -> None:
        """Called while all loops wait: carry out orders, finish the tick if it is due, and end if that is asked for."""
        now_ns = clock.now_ns()
        self._engine.is_hurried = False
        if self._engine.look_at_journal(now_ns):
            self._report_journal(now_ns)
        while self._orders:
            self._orders.popleft()(now_ns)
        self._resume_broker(now_ns)
        if self._stop_requested and not self._engine.is_ending:
            self._engine.is_ending = self._engine.is_hurried = True  # The loops meet once more, with empty queues.
        elif now_ns >= self._engine.next_tick_ns or self._engine.is_ending:
            self._finish_tick(now_ns)

    def _report_journal(self, now_ns: int) -> None:
        """Notify all clients that nothing can be shown now, or that it can again."""
        notice = Notice(NoticeCode.RESUMED, "the canvas goes on")
        if self._engine.gate.is_stuck:
            notice = Notice(NoticeCode.HELD, "the canvas is on hold: changes cannot be written to disk now")
        for loop in self._all_loops:
            loop.notify(notice.encode(), now_ns)

    def _finish_tick(self, now_ns: int) -> None:
        # `_stop_requested` may be newer than the loops' empty queues: then the next meeting acts on it.
        is_last = self._engine.is_ending and self.state == State.RUNNING
        if self._engine.tick(now_ns, is_last=is_last):
            self._engine.publish(now_ns, clock.now_ns() - now_ns)
            # A sink applies nothing of what it counts.
            assert not checks.ARE_THOROUGH or self.config.counts_only or self._row["ledger_gap"] == 0
        self._beat(now_ns)
        if now_ns - self._resident_at_ns > 1_000_000_000:
            self._resident_at_ns = now_ns
            self._row["resident_bytes"] = clock.resident_bytes()
        if self._engine.is_ending:
            self._drain(now_ns)

    def _beat(self, now_ns: int) -> None:
        self._row["cpu_ns"] = clock.process_cpu_ns()
        self._row["heartbeat_ns"] = now_ns

    def _drain(self, now_ns: int) -> None:
        """Go on from RUNNING, whose last tick holds all that was accepted, to DRAINING, and from there to STOPPED."""
        if self.state == State.RUNNING:
            self._set_state(State.DRAINING)
            if self._tls is not None:
                self._tls.shut()
            self._engine.release_brakes()
            self._drain_until_ns = now_ns + DRAIN_NS
        elif now_ns >= self._drain_until_ns or not any(loop.client_count for loop in self._all_loops):
            self._set_state(State.STOPPED)
        self._engine.next_tick_ns = now_ns + DRAIN_TICK_NS

    def _set_state(self, state: State) -> None:
        self.state = state
        self._row["state"] = state
