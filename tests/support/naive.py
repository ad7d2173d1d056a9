"""The obvious form of what kernels do: plain Python over lists and dictionaries, against which they are tested.

Nothing here is fast and nothing shares code with a kernel; messages are read by the plain protocol reference.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from server.protocol.connection import Connection
from server.protocol.events import Message, Violated
from server.protocol.messages import Place, PlaceMany, Subscribe, decode_client_message
from server.protocol.websocket import CloseCode, ProtocolViolation
from support.feeding import NOW


def values_of(slot, message):
    """A client message as the message queue has it: every placement by itself."""
    if isinstance(message, Place):
        return [("place", slot, message.x, message.y, message.color)]
    if isinstance(message, PlaceMany):
        return [("place", slot, *placement) for placement in message.placements]
    if isinstance(message, Subscribe):
        names = ("flags", "x", "y", "width", "height", "interval_ms")
        return [("subscribe", slot, *(getattr(message, name) for name in names))]
    return [("ping", slot, message.nonce)]


@dataclass
class Reader:
    """What a connection's stream means: messages, faults, and bytes in answer. After it has refused, nothing counts."""

    connection: Connection
    slot: int = 0
    found: list = field(default_factory=list)
    answered: bytes = b""
    is_refused: bool = False

    def feed(self, data, queue=None):
        """`queue(payload)` takes a known message; without it, it is noted in `found` at once."""
        for event in self.connection.receive_data(data, NOW):
            if self.is_refused:
                return
            if isinstance(event, Violated):
                self.found.append(("violated", event.close_code, event.reason))
            elif isinstance(event, Message):
                self._take(event, queue)
        self.answered += self.connection.data_to_send()

    def _take(self, event, queue):
        try:
            if event.is_text:
                raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "text")
            message = decode_client_message(event.data)
        except ProtocolViolation as violation:
            self.is_refused = True
            self.found.append(("refused", violation.close_code, violation.reason))
            self.connection.close(violation.close_code, violation.reason)
        else:
            if queue is None:
                self.found += values_of(self.slot, message)
            else:
                queue(event.data)


@dataclass
class Bucket:
    """The textbook's token bucket, exact: `burst` tokens at most, one more each `token_ns`, a placement costs one."""

    token_ns: int
    burst: int
    level: Fraction = Fraction(0)
    seen_ns: int | None = None

    def take(self, now_ns):
        if self.seen_ns is None:
            self.level = Fraction(self.burst)
        else:
            self.level = min(Fraction(self.burst), self.level + Fraction(now_ns - self.seen_ns, self.token_ns))
        self.seen_ns = now_ns
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass
class BrakedStage:
    """A worker who takes what he can do in a step, works on it, and then has done it."""

    item_ns: int
    batch_ns: int
    step_ns: int
    catch_up_ns: int
    taken: int = 0
    cost_ns: int = 0
    done_ns: int = 0
    busy_ns: int = 0
    left: int = 0

    def look(self, waiting, now_ns):
        """How many are done now."""
        if self.item_ns == self.batch_ns == 0:
            return waiting
        if self.taken == 0 and waiting > 0:
            self.taken = min(waiting, max(1, self.step_ns // self.item_ns)) if self.item_ns else waiting
            self.cost_ns = self.taken * self.item_ns + self.batch_ns
            was_busy = self.left > 0 and now_ns - self.done_ns < self.catch_up_ns
            self.done_ns = (self.done_ns if was_busy else now_ns) + self.cost_ns
        if self.taken == 0 or now_ns < self.done_ns:
            return 0
        done, self.taken = self.taken, 0
        self.left = waiting - done
        self.busy_ns += self.cost_ns
        return done


@dataclass
class Timetable:
    """A viewer's departures, one an interval. It takes what leaves within half a tick; who is later shifts the rest."""

    interval_ns: int
    next_ns: int = 0

    def may_leave(self, now_ns, tick_ns):
        return 2 * (self.next_ns - now_ns) <= tick_ns

    def leave(self, now_ns, tick_ns):
        if 2 * (now_ns - self.next_ns) > tick_ns:
            self.next_ns = now_ns - tick_ns // 2
        self.next_ns += self.interval_ns
