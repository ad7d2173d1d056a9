"""What two ends agree on about permessage-deflate (RFC 7692, 7.1): offers are answered, an answer is judged.

Pure functions over the parsed header; nothing is compressed here (that is `deflate`). Invariant: an agreement never
lets a sender use more than the receiver allowed, and an end never holds more than the bits below allow.

    PARAMETER                    IN AN OFFER                       IN THE ANSWER
    server_no_context_takeover   the server shall forget           it will; always given when offered
    client_no_context_takeover   the client will forget, if told   the client shall
    server_max_window_bits=8-15  the server's window, at most      the server's window, when offered
    client_max_window_bits[=..]  the client can obey an answer     the client's window, only when offered
"""

from dataclasses import dataclass

from server.protocol.extension import Extension
from server.protocol.http import HttpFault

NAME = "permessage-deflate"
OFFER = f"{NAME}; client_max_window_bits"
"""What our client offers."""
WINDOW_BITS_MAX = 15
OWN_WINDOW_BITS = 12
"""Our own window: 4 KiB find nearly all that a canvas message repeats, at an eighth of the memory of 32 KiB."""

_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_BITS = {str(bits): bits for bits in range(8, WINDOW_BITS_MAX + 1)}

assert str(OWN_WINDOW_BITS) in _BITS


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one end sends and receives. Windows in bits, 8 to 15; `*_forgets`: no context is kept between messages."""

    send_window_bits: int
    send_forgets: bool
    receive_window_bits: int
    receive_forgets: bool


def answer_offers(offers: list[Extension]) -> tuple[str, Agreement] | None:
    """The header value that accepts the first offer that holds, and what it means for a server. None: no offer does."""
    for offer in offers:
        parameters = _parameters(offer, lone_bits="client_max_window_bits") if offer.name == NAME else None
        if parameters is not None:
            return _accept(parameters)
    return None


def _accept(offer: dict[str, int | None]) -> tuple[str, Agreement]:
    own_bits = min(OWN_WINDOW_BITS, offer.get("server_max_window_bits") or WINDOW_BITS_MAX)
    their_bits = WINDOW_BITS_MAX
    answer = [NAME, *(flag for flag in sorted(_FLAGS, reverse=True) if flag in offer)]
    if "server_max_window_bits" in offer:
        answer.append(f"server_max_window_bits={own_bits}")
    if "client_max_window_bits" in offer:
        their_bits = min(OWN_WINDOW_BITS, offer["client_max_window_bits"] or WINDOW_BITS_MAX)
        answer.append(f"client_max_window_bits={their_bits}")
    own_forgets, their_forgets = "server_no_context_takeover" in offer, "client_no_context_takeover" in offer
    return "; ".join(answer), Agreement(own_bits, own_forgets, their_bits, their_forgets)


def judge_answer(answer: list[Extension], *, is_offered: bool) -> Agreement | None:
    """What a server's answer to `OFFER` means for a client. None: it declined. Raises HttpFault 101."""
    if not answer:
        return None
    if not is_offered or len(answer) > 1 or answer[0].name != NAME:
        raise HttpFault(101, "the server chose an extension that was not offered")
    parameters = _parameters(answer[0], lone_bits=None)
    if parameters is None:
        raise HttpFault(101, f"the server's parameters of {NAME} are not what RFC 7692 allows")
    return Agreement(
        send_window_bits=min(OWN_WINDOW_BITS, parameters.get("client_max_window_bits") or WINDOW_BITS_MAX),
        send_forgets="client_no_context_takeover" in parameters,
        receive_window_bits=parameters.get("server_max_window_bits") or WINDOW_BITS_MAX,
        receive_forgets="server_no_context_takeover" in parameters,
    )


def _parameters(extension: Extension, *, lone_bits: str | None) -> dict[str, int | None] | None:
    """The parameters by name, None where RFC 7692 forbids one. `lone_bits` may stand without a value."""
    found: dict[str, int | None] = {}
    for name, value in extension.parameters:
        bits = _BITS.get(value) if value is not None else None
        is_flag = name in _FLAGS and value is None
        is_window = name in ("server_max_window_bits", "client_max_window_bits") and (
            bits is not None or (value is None and name == lone_bits)
        )
        if name in found or not (is_flag or is_window):
            return None
        found[name] = bits
    return found
