"""What is fuzzed: each target takes any bytes and raises when the code behind it breaks its promise.

The promise is a sentence: any bytes give values or the one error that the module names, nothing else, and it does not
matter where a stream was cut. Seeds are kept in `corpus/`; `run.py` looks for more, and the suite replays them.
Invariant: a target depends on its bytes alone.
"""

from itertools import pairwise

import numpy as np

from server.bridge.broker_thread import Inbox
from server.kernels.decode import DONE, decode, decode_payload
from server.kernels.layout import Phase, Reason
from server.mqtt.topics import Topics
from server.protocol.connection import Connection, Role
from server.protocol.deflate import SLICE_BYTES, Deflater, Inflater, answer_offers, parse_extensions, read_answer
from server.protocol.events import Closed, Request
from server.protocol.http import (
    HEAD_BYTES_MAX,
    HttpFault,
    is_origin_allowed,
    parse_request,
    parse_response,
    take_head,
)
from server.protocol.messages import PLACE_DTYPE, Delta, Place, decode_client_message, decode_server_message
from server.protocol.websocket import ProtocolViolation
from server.wire import PLACE
from support.feeding import ACCEPTED, KEY, NOW, UPGRADE, four_bytes, open_server
from support.naive import Reader
from support.stages import ALL, new_canvas, new_loop, take_messages

EXTENSIONS = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
DEFLATED_UPGRADE = UPGRADE[:-2] + EXTENSIONS
DEFLATED_ANSWER = ACCEPTED[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
MESSAGE_MAX = 4096
SLOT = 1
INBOX_PLACES = 5
"""So few that some find no room."""


def cut(data, seed):
    """`data` in pieces: a byte each for seed 0, else cut where the seed says."""
    if seed == 0:
        return [data[index : index + 1] for index in range(len(data))]
    edges = sorted({0, len(data), *(seed * step % (len(data) + 1) for step in (1, 7, 31))})
    return [data[start:end] for start, end in pairwise(edges)]


def connection(data):
    """Byte 0: how the stream begins and whose it is. Byte 1: where it is cut. The rest: the stream."""
    how, seed = (data[:2] + b"\0\0")[:2]
    is_server, begins, deflates = how & 1, how & 2, bool(how & 4)
    stream = data[2:]
    if begins and is_server:
        stream = (DEFLATED_UPGRADE if deflates else UPGRADE) + stream
    elif begins:
        stream = (DEFLATED_ANSWER if deflates else ACCEPTED) + stream
    outcomes = [_outcome(is_server, deflates, pieces) for pieces in ([stream], cut(stream, seed))]
    assert outcomes[0] == outcomes[1], outcomes
    events = outcomes[0][0]
    assert [type(event) for event in events].count(Closed) == 1
    assert isinstance(events[-1], Closed)


def _outcome(is_server, deflates, pieces):
    if is_server:
        end = Connection(Role.SERVER, NOW, message_bytes_max=MESSAGE_MAX)
    else:
        end = Connection.client(
            "a", "/", NOW, KEY, offers_deflate=deflates, message_bytes_max=MESSAGE_MAX, random_bytes=four_bytes
        )
    events = []
    for piece in pieces:
        waiting = end.receive_data(piece, NOW)
        while waiting or end.has_more:
            for event in waiting:
                events.append(event)
                if isinstance(event, Request) and event.is_upgrade:
                    events += end.accept_upgrade(deflates=deflates)
                elif isinstance(event, Request):
                    end.respond(404)
            waiting = end.receive_data(b"", NOW) if end.has_more else []
    return events + end.receive_eof(NOW), end.data_to_send()


class TwoPaths:
    """The compiled decoder and the plain one take turns at a stream; arrays are kept, for they cost more than a run."""

    def __init__(self):
        self.loop = new_loop(new_canvas(), slots=2, messages=128, requests=3)

    def read(self, pieces):
        """What the stages behind them get, and what the peer is answered."""
        loop, reader, row = self.loop, Reader(open_server(), SLOT), self.loop.connections[SLOT]
        row["phase"], row["carry_bytes"] = Phase.FAST, 0
        take_messages(loop)

        def queue(payload):
            buffer = np.frombuffer(payload, np.uint8)
            assert decode_payload(loop, SLOT, buffer, 0, len(payload), 0) == DONE
            reader.found += take_messages(loop)

        for piece in pieces:
            self._put(row, piece)
            while loop.queues[0]["segment_end"]:
                decode(loop, ALL)
                reader.found += take_messages(loop)
            for slot, start, end, reason in loop.handovers[: int(loop.queues[0]["handover_count"])].tolist():
                assert (slot, reason) == (SLOT, Reason.BYTES)
                reader.feed(loop.arena[start:end].tobytes(), queue)
                row["phase"] = Phase.FAST if reader.connection.at_frame_boundary else Phase.SLOW
            loop.queues[0]["handover_count"] = 0
        return reader

    def _put(self, row, piece):
        data = self.loop.carry[SLOT, : int(row["carry_bytes"])].tobytes() + piece
        self.loop.arena[: len(data)] = np.frombuffer(data, np.uint8)
        row["carry_bytes"] = 0
        segment = self.loop.segments[0]
        segment["slot"], segment["start"], segment["end"] = SLOT, 0, len(data)
        self.loop.queues[0]["segment_end"] = 1


_paths = []


def paths(data):
    """Fast and slow path together are the slow path alone. Byte 0: where the stream is cut."""
    if not _paths:
        _paths.append(TwoPaths())
    seed, stream = (data[0] if data else 0), data[1:400]
    expected = Reader(open_server(), SLOT)
    expected.feed(stream)
    found = _paths[0].read(cut(stream, seed))
    assert found.found == expected.found, (found.found, expected.found)
    assert expected.is_refused or found.answered == expected.answered


def messages(data):
    """A message of either direction is read, or named as a violation; and what was read can be written and read.

    What it says twice, in a block of a DELTA, is written once.
    """
    for read in (decode_client_message, decode_server_message):
        try:
            message = read(data)
        except ProtocolViolation:
            continue
        written = message.encode()
        assert isinstance(message, Delta) or read(written) == message
        assert read(written).encode() == written


def http_head(data):
    """Any bytes are a head, too few, or a fault with a status."""
    try:
        head = take_head(bytearray(data), HEAD_BYTES_MAX)
    except HttpFault as fault:
        assert fault.status == 431 and len(data) >= HEAD_BYTES_MAX
        return
    text = data.decode("latin-1") if head is None else head
    for parse in (parse_request, parse_response):
        try:
            found = parse(text)
        except HttpFault as fault:
            assert fault.reason
            continue
        if parse is parse_request:
            assert found.path.startswith("/")
            is_origin_allowed(found, ("https://canvas.example",))


def offers(data):
    """Any value of the extensions header is read or refused; what a server grants, a client that offered it takes."""
    try:
        found = parse_extensions(data.decode("latin-1").split("\n"))
    except HttpFault as fault:
        assert fault.status == 400
        return
    try:
        read_answer(found, is_offered=True)
    except HttpFault as fault:
        assert fault.status == 101
    granted = answer_offers(found)
    if granted is not None:
        value, ours = granted
        theirs = read_answer(parse_extensions([value], 101), is_offered=True)
        assert ours.send_window_bits <= theirs.receive_window_bits
        assert theirs.send_window_bits <= ours.receive_window_bits
        assert ours.receive_resets == theirs.send_resets


def deflate(data):
    """Byte 0: window and memory. The rest: a compressed message, twice; then as a message, to be compressed."""
    how, payload = (data[0] if data else 0), data[1:]
    bits, resets = 8 + how % 8, bool(how & 8)
    outcomes = [_inflated(bits, resets, [payload[i : i + n] for i in range(0, len(payload), n)]) for n in (1, 3, 9999)]
    assert outcomes[0] == outcomes[1] == outcomes[2], outcomes
    deflater, inflater = Deflater(bits, resets=resets), Inflater(bits, resets=resets)
    for message in (payload, payload * 3, payload):
        shrunk = deflater.shrink(message)
        if shrunk is not None:
            assert len(shrunk) < len(message)
            assert inflater.feed(shrunk, len(message)) + inflater.finish(len(message)) == message


def _inflated(bits, resets, pieces):
    inflater, found = Inflater(bits, resets=resets), []
    try:
        for _ in range(2):
            message = b""
            for piece in pieces:
                message += inflater.feed(piece, MESSAGE_MAX - len(message))
                if len(message) > MESSAGE_MAX:
                    break
            if len(message) <= MESSAGE_MAX:
                message += inflater.finish(MESSAGE_MAX - len(message))
            assert len(message) <= MESSAGE_MAX + 1
            found.append(message)
            if len(message) > MESSAGE_MAX:
                return found
    except ProtocolViolation as violation:
        found.append((violation.close_code, violation.reason))
    return found


assert SLICE_BYTES < MESSAGE_MAX


def publications(data):
    """A topic and a payload bring placements, each taken or shed, or one counted fault.

    Byte 0: how long the topic is; odd: it is the name of a device among ours. Then the topic, and the payload, twice.
    """
    how = data[0] if data else 0
    name, payload = data[1 : 1 + how // 2].decode("utf-8", "surrogateescape"), data[1 + how // 2 :]
    topic = f"canvas/main/device/{name}/place" if how & 1 else name
    topics, inbox = Topics("main"), Inbox(places_max=INBOX_PLACES)
    device, places = topics.device_of(topic), _places_of(payload)
    assert not device or topics.place(device) == topic
    for _ in range(2):
        inbox.put(device, payload)
    taken, (shed, fault_count, _) = inbox.take(9, INBOX_PLACES), inbox.take_refused()
    if not device or not places:
        assert (taken, shed, fault_count) == ([], {}, 2)
        return
    assert fault_count == 0
    assert sum(count for _, _, count in taken) + shed.get(device, 0) == 2 * len(places)
    for sender, brought, _ in taken:
        rows = np.frombuffer(brought, PLACE_DTYPE)
        assert sender == device
        assert list(zip(*(rows[field].tolist() for field in ("x", "y", "color")), strict=True)) == places


def _places_of(payload):
    """What a payload places, message by message; nothing where one of them is not whole, or is none."""
    try:
        orders = [decode_client_message(payload[at : at + PLACE.size]) for at in range(0, len(payload), PLACE.size)]
    except ProtocolViolation:
        return []
    return [(order.x, order.y, order.color) for order in orders if isinstance(order, Place)]


TARGETS = {
    target.__name__: target for target in (connection, paths, messages, http_head, offers, deflate, publications)
}
