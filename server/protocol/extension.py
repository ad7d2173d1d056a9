"""The Sec-WebSocket-Extensions header (RFC 6455, 9.1): a list of extensions, each with parameters. Text in, values out.

It reads the grammar and knows no extension (`agreement` knows the one that is spoken). Invariant: what breaks the
grammar is refused whole, as section 9.1 demands, never read in part.
"""

import re
from typing import NamedTuple

from server.protocol.http import TOKEN, HttpFault

HEADER = "Sec-WebSocket-Extensions"

_GAP = re.compile(r"[ \t,]*")
_NAME = re.compile(TOKEN)
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*(?:({TOKEN})|"((?:[^"\\]|\\.)*)"))?')
_END = re.compile(r"[ \t]*(?:,|$)")


class Extension(NamedTuple):
    """One member of the list; a parameter without a value has None."""

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()


def parse_extensions(values: list[str], fault_status: int = 400) -> list[Extension]:
    """The extensions of all fields of the header, in their order. Raises HttpFault `fault_status`."""
    text, found, position = ", ".join(values), [], 0
    while (position := _match_end(_GAP.match(text, position))) < len(text):
        name = _NAME.match(text, position)
        if name is None:
            raise _fault(text, fault_status)
        parameters, position = _parse_parameters(text, name.end(), fault_status)
        end = _END.match(text, position)
        if end is None:
            raise _fault(text, fault_status)
        position = end.end()
        found.append(Extension(name[0], parameters))
    if values and not found:
        raise _fault(text, fault_status)
    return found


def _parse_parameters(text: str, position: int, fault_status: int) -> tuple[tuple[tuple[str, str | None], ...], int]:
    parameters = []
    while (match := _PARAMETER.match(text, position)) is not None:
        name, value, quoted = match.groups()
        if quoted is not None:
            value = re.sub(r"\\(.)", r"\1", quoted)
            if not re.fullmatch(TOKEN, value):
                raise _fault(text, fault_status)
        parameters.append((name, value))
        position = match.end()
    return tuple(parameters), position


def _match_end(match: re.Match[str] | None) -> int:
    assert match is not None
    return match.end()


def _fault(text: str, status: int) -> HttpFault:
    return HttpFault(status, f"{HEADER} {text[:60]!r} is malformed")
