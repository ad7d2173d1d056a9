"""Decode: from bytes in the arena to messages. Takes only whole, masked, unfragmented binary frames of known messages.

Everything else is handed over to the slow path with its bytes, in order. Each byte of the arena is decoded, kept as the
connection's carry, or handed over.
"""

import numpy as np

from server import wire
from server.kernels.kernel import kernel
from server.kernels.layout import CARRY_BYTES, Kind, Phase, Reason

_PLACE_LENGTH = wire.MASK | wire.PLACE.size  # The second byte of a masked frame with a short payload.
_PLACE_BYTES, _PING_BYTES = wire.PLACE.size, wire.PING.size
_HEAD_BYTES, _ITEM_BYTES = wire.PLACE_MANY.size, wire.PLACE_ITEM.size
_PLACE, _PLACE_MANY = int(wire.ClientOp.PLACE), int(wire.ClientOp.PLACE_MANY)
_SUBSCRIBE, _PING = int(wire.ClientOp.SUBSCRIBE), int(wire.ClientOp.PING)

DONE, UNKNOWN, FULL = 0, 1, 2
"""What became of a payload: queued; not a message the fast path knows; no room in a queue, try again later."""


@kernel
def _u16(buffer, start, mask):
    """The little-endian u16 at `start` of a masked payload; `mask` is turned so that its low byte masks `start`."""
    value = np.int64(buffer[start]) | np.int64(buffer[start + 1]) << 8
    return (value ^ mask) & 0xFFFF


@kernel
def _turn(mask, count):
    """`mask` (4 bytes, low byte first) as it meets a payload `count` bytes further on."""
    # The mask repeats every four bytes. Turned, its lowest byte is the one for the payload's byte `count`.
    shift = (count & 3) * 8
    return ((mask >> shift) | (mask << (32 - shift))) & 0xFFFFFFFF


@kernel
def hand_over(loop, slot, start, end, reason):
    """Queue `loop.arena[start:end]` of a connection for Python. O(1).

    `handovers` has room for every segment and, twice, for every slot: each slot is handed over at most once a poll
    for its end and once a patrol.
    """
    queues = loop.queues[0]
    entry = loop.handovers[queues.handover_count]
    entry.slot = slot
    entry.start = start
    entry.end = end
    entry.reason = reason
    queues.handover_count += 1
    loop.counts[0].handover_count += 1


@kernel
def _push_place(loop, slot, x, y, color):
    queues = loop.queues[0]
    message = loop.messages[queues.message_end]
    message.slot = slot
    message.x = x
    message.y = y
    message.color = color
    message.kind = Kind.PLACE
    queues.message_end += 1
    loop.connections[slot].received_count += 1
    loop.counts[0].received_count += 1


@kernel
def _push_request(loop, slot, op, buffer, start, mask):
    """Queue a SUBSCRIBE or PING of 12 bytes. Returns DONE, or FULL."""
    queues = loop.queues[0]
    # Requests are a ring, unlike the queues: their numbers only grow.
    waiting = int(queues.request_end) - int(queues.request_head)
    if waiting == len(loop.requests) or queues.message_end == len(loop.messages):
        return FULL
    index = int(queues.request_end) % len(loop.requests)
    request = loop.requests[index]
    request.slot = slot
    request.op = op
    request.flags = np.int64(buffer[start + 1]) ^ (mask >> 8) & 0xFF
    if op == _SUBSCRIBE:
        request.x = _u16(buffer, start + 2, _turn(mask, 2))
        request.y = _u16(buffer, start + 4, mask)
        request.width = _u16(buffer, start + 6, _turn(mask, 2))
        request.height = _u16(buffer, start + 8, mask)
        request.interval_ms = _u16(buffer, start + 10, _turn(mask, 2))
    else:
        nonce = np.uint64(0)
        for i in range(8):
            nonce |= np.uint64(np.int64(buffer[start + 4 + i]) ^ (mask >> ((i & 3) * 8)) & 0xFF) << np.uint64(8 * i)
        request.nonce = nonce
    message = loop.messages[queues.message_end]
    message.slot = slot
    message.kind = Kind.REQUEST
    message.index = index
    queues.request_end += 1
    queues.message_end += 1
    return DONE


@kernel
def _push_places(loop, slot, buffer, start, length, mask):
    """Queue a PLACE_MANY as single placements. Returns DONE, UNKNOWN (wrong length) or FULL (nothing was queued)."""
    if length < _HEAD_BYTES:
        return UNKNOWN
    count = _u16(buffer, start + 2, _turn(mask, 2))
    if count < 1 or count > wire.PLACEMENTS_MAX or length != _HEAD_BYTES + _ITEM_BYTES * count:
        return UNKNOWN
    # All or nothing: the rest of a message that is half queued could not be found again.
    if loop.queues[0].message_end + count > len(loop.messages):
        return FULL
    for i in range(count):
        at = _HEAD_BYTES + _ITEM_BYTES * i
        x = _u16(buffer, start + at, _turn(mask, at))
        y = _u16(buffer, start + at + 2, _turn(mask, at + 2))
        color = np.int64(buffer[start + at + 4]) ^ _turn(mask, at + 4) & 0xFF
        _push_place(loop, slot, x, y, color)
    return DONE


@kernel
def decode_payload(loop, slot, buffer, start, length, mask):
    """Queue the one message that is the whole of a payload.

    buffer: uint8 (any,), read only. mask: 4 bytes, low byte first; 0 for a payload that is already unmasked.
    Writes `loop.messages`, `loop.requests` and their ends. Reads buffer[start : start + length], all of which the
    caller has. Cost: O(placements). Returns DONE, UNKNOWN or FULL; only DONE has changed anything.
    """
    op = np.int64(buffer[start]) ^ mask & 0xFF
    if op == _PLACE and length == _PLACE_BYTES:
        if loop.queues[0].message_end == len(loop.messages):
            return FULL
        x = _u16(buffer, start + 2, _turn(mask, 2))
        y = _u16(buffer, start + 4, mask)
        _push_place(loop, slot, x, y, np.int64(buffer[start + 1]) ^ (mask >> 8) & 0xFF)
        return DONE
    if op == _PLACE_MANY:
        return _push_places(loop, slot, buffer, start, length, mask)
    if (op == _SUBSCRIBE or op == _PING) and length == _PING_BYTES:
        return _push_request(loop, slot, op, buffer, start, mask)
    return UNKNOWN


@kernel
def _take_places(arena, position, end, messages, message_end, limit, slot):
    """Queue the PLACE frames that stand one after another from `position` on, up to `limit` in the queue.

    Returns (position, message_end) behind the last one.
    """
    # Nearly all bytes belong to these frames. It takes only the two arrays that it needs: passing all arrays of a loop
    # costs ten times what a frame does.
    while end - position >= wire.PLACE_FRAME_BYTES and message_end < limit:
        if arena[position] != wire.BINARY_FRAME or arena[position + 1] != _PLACE_LENGTH:
            break
        if arena[position + 6] ^ arena[position + 2] != _PLACE:
            break
        low = np.int64(arena[position + 2]) | np.int64(arena[position + 3]) << 8
        high = np.int64(arena[position + 4]) | np.int64(arena[position + 5]) << 8
        message = messages[message_end]
        message.slot = slot
        message.x = (np.int64(arena[position + 8]) | np.int64(arena[position + 9]) << 8) ^ high
        message.y = (np.int64(arena[position + 10]) | np.int64(arena[position + 11]) << 8) ^ low
        message.color = arena[position + 7] ^ arena[position + 3]
        message.kind = Kind.PLACE
        message_end += 1
        position += wire.PLACE_FRAME_BYTES
    return position, message_end


@kernel
def _decode_segment(loop, segment, limit):
    """Decode whole frames from `segment.start` on, moving it, until the message queue ends at `limit` or behind it.

    Returns DONE, UNKNOWN at what is for the slow path, or FULL when it is not done and a queue has no room.
    """
    arena = loop.arena
    slot = int(segment.slot)
    position = int(segment.start)
    end = int(segment.end)
    connection = loop.connections[slot]
    result = DONE
    queues = loop.queues[0]
    while position < end and connection.phase == Phase.FAST:
        first = int(queues.message_end)
        position, message_end = _take_places(arena, position, end, loop.messages, first, limit, slot)
        if message_end > first:
            queues.message_end = message_end
            connection.received_count += message_end - first
            loop.counts[0].received_count += message_end - first
            continue
        if first >= limit:
            result = FULL
            break
        if arena[position] != wire.BINARY_FRAME:
            result = UNKNOWN
            break
        if end - position < 2:
            break
        length = np.int64(arena[position + 1] & 0x7F)
        header = wire.CLIENT_HEAD_BYTES
        # Unmasked, above 64 KiB or empty: the slow path closes the connection with the right code.
        if arena[position + 1] < wire.MASK or length == wire.LENGTH_64 or length == 0:
            result = UNKNOWN
            break
        if length == wire.LENGTH_16:
            header = wire.CLIENT_HEAD_BYTES + 2
            if end - position < 4:
                break
            length = (np.int64(arena[position + 2]) << 8) | np.int64(arena[position + 3])
            if length < wire.LENGTH_16:
                result = UNKNOWN
                break
        if end - position < header + length:
            break
        mask = 0
        for i in range(4):
            mask |= np.int64(arena[position + header - 4 + i]) << (8 * i)
        result = decode_payload(loop, slot, arena, position + header, length, mask)
        if result != DONE:
            break
        position += header + length
    segment.start = position
    return result


@kernel
def _keep_rest(loop, segment, unknown):
    """What a segment leaves: to the carry when short and plain, else to the slow path, which then has the stream."""
    connection = loop.connections[segment.slot]
    start = int(segment.start)
    rest = int(segment.end) - start
    # A frame that is cut off mostly continues in the next read, and needs no help from Python.
    if connection.phase == Phase.FAST and not unknown and rest <= CARRY_BYTES:
        for i in range(rest):
            loop.carry[segment.slot, i] = loop.arena[start + i]
        connection.carry_bytes = rest
    elif rest > 0 and connection.phase != Phase.FREE:
        # From here on all its bytes go to Python, in order, until it is at a frame boundary again.
        if connection.phase == Phase.FAST:
            connection.phase = Phase.SLOW
        hand_over(loop, segment.slot, segment.start, segment.end, Reason.BYTES)


@kernel
def decode(loop, messages_max):
    """One pass over all segments of the arena, until about `messages_max` messages are queued.

    loop.arena: uint8, read. loop.segments: SEGMENT, consumed from `segment_head`. loop.messages, loop.requests,
    loop.handovers, loop.carry: appended to. Owner: this loop. Cost: O(bytes). Stops early, to be called again, when
    the message or request queue is full, and with the message that brings `messages_max`.
    """
    queues = loop.queues[0]
    limit = min(len(loop.messages), int(queues.message_end) + messages_max)
    while queues.segment_head < queues.segment_end:
        segment = loop.segments[queues.segment_head]
        result = _decode_segment(loop, segment, limit)
        # The segment stays at the head of its queue; its `start` says how far it is decoded.
        if result == FULL:
            return
        _keep_rest(loop, segment, result == UNKNOWN)
        # Its next bytes may be read now: what was cut off is in its carry, or on the slow path.
        loop.connections[segment.slot].in_arena = 0
        queues.segment_head += 1
    queues.segment_head = 0
    queues.segment_end = 0


@kernel
def waiting_bytes(loop):
    """Bytes of the arena that wait to be decoded."""
    queues = loop.queues[0]
    total = 0
    for i in range(int(queues.segment_head), int(queues.segment_end)):
        total += int(loop.segments[i].end) - int(loop.segments[i].start)
    return total
