"""The states of a `Connection`, in the order in which it goes through them: never back. No behaviour lives here.

    STATE       WHAT BYTES ARE             LEFT BY
    HANDSHAKE   a head                     a whole head > ANSWERING or OPEN; a fault, the timer > ENDING
    ANSWERING   kept for later             accept_upgrade > OPEN; respond > ENDING
    OPEN        frames                     close > CLOSING; their close, a fault > LAST_WORDS
    CLOSING     frames, only close counts  their close > CLOSED or (client) ENDING; a fault > ENDING; the timer > CLOSED
    LAST_WORDS  not looked at              data_to_send > ENDING or (their close, server) CLOSED
    ENDING      not looked at              end of stream, the timer > CLOSED
    CLOSED      not looked at

In LAST_WORDS the application answers the messages that came before their close or their fault in the same bytes: what
it sends goes out before our close frame.
"""

from enum import IntEnum


class State(IntEnum):
    """Where a connection stands; see the table above."""

    HANDSHAKE = 0
    ANSWERING = 1
    OPEN = 2
    CLOSING = 3
    CLOSE_PENDING = 4
    ENDING = 5
    CLOSED = 6
