"""What a client sends to an echoing server and what must come back: RFC 6455 by sections, as tables.

The sections are those by which conformance suites count. Invariant: a case names all that comes back, in order.
"""

from dataclasses import dataclass, field

from server.protocol.websocket import encode_frame
from server.wire import Opcode
from support.serving import MASK

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0
HELLO = "Hello-µ@ßöäüàá-UTF-8!!"
KOSME = bytes.fromhex("cebae1bdb9cf83cebcceb5")


@dataclass(frozen=True)
class Case:
    """`writes`: bytes as they are written. `answers`: (opcode, payload). `code`: of the server's close frame; None: the
    client closes in the end, and is answered."""

    writes: list[bytes]
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    code: int | None = None
    reason: bytes | None = None


def frame(opcode: int, payload: bytes | str = b"", *, is_final: bool = True, reserved: int = 0) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return encode_frame(opcode, data, is_final=is_final, mask_key=MASK, reserved_bits=reserved)


def fragments(opcode: int, payload: bytes, size: int, reserved: int = 0) -> list[bytes]:
    """A message in frames of `size` bytes."""
    starts = range(0, max(1, len(payload)), size)
    return [
        frame(
            opcode if start == 0 else MORE,
            payload[start : start + size],
            is_final=start + size >= len(payload),
            reserved=0 if start else reserved,
        )
        for start in starts
    ]


def bytewise(*frames: bytes) -> list[bytes]:
    data = b"".join(frames)
    return [data[index : index + 1] for index in range(len(data))]


def chopped(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def echoed(opcode: int, payload: bytes, writes: list[bytes] | None = None) -> Case:
    return Case(writes or [frame(opcode, payload)], [(opcode, payload)])


def fails(code: int, *writes: bytes, after: list[tuple[int, bytes]] | None = None) -> Case:
    return Case(list(writes), after or [], code)


def _framing() -> dict[str, Case]:
    cases = {}
    for opcode, fill in ((TEXT, b"*"), (BINARY, b"\xfe")):
        for size in (0, 125, 126, 127, 128, 65535, 65536):
            cases[f"1 {Opcode(opcode).name} of {size}"] = echoed(opcode, fill * size)
        cases[f"1 {Opcode(opcode).name} in chops"] = echoed(
            opcode, fill * 65536, chopped(frame(opcode, fill * 65536), 997)
        )
    return cases


def _pings() -> dict[str, Case]:
    blob = bytes([0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF])
    ten = [f"payload-{number}".encode() for number in range(10)]
    pongs = [(PONG, payload) for payload in ten]
    return {
        "2 empty": Case([frame(PING)], [(PONG, b"")]),
        "2 text": Case([frame(PING, "Hello, world!")], [(PONG, b"Hello, world!")]),
        "2 binary": Case([frame(PING, blob)], [(PONG, blob)]),
        "2 of 125": Case([frame(PING, b"\xfe" * 125)], [(PONG, b"\xfe" * 125)]),
        "2 of 126": fails(1002, frame(PING, b"\xfe" * 126)),
        "2 bytewise": Case(bytewise(frame(PING, b"\xfe" * 125)), [(PONG, b"\xfe" * 125)]),
        "2 pong unasked": Case([frame(PONG)]),
        "2 pong unasked, then a ping": Case([frame(PONG, "no"), frame(PING, "yes")], [(PONG, b"yes")]),
        "2 ten": Case([frame(PING, payload) for payload in ten], pongs),
        "2 ten, bytewise": Case(bytewise(*(frame(PING, payload) for payload in ten)), pongs),
    }


def _reserved() -> dict[str, Case]:
    cases = {}
    good, heard = frame(TEXT, HELLO), [(TEXT, HELLO.encode())]
    for bits in range(1, 8):
        bad = frame(TEXT, HELLO, reserved=bits << 4)
        cases[f"3 bits {bits}"] = fails(1002, bad)
        cases[f"3 bits {bits} behind a message"] = fails(1002, good + bad + frame(PING), after=heard)
        cases[f"3 bits {bits} bytewise"] = fails(1002, good, *bytewise(bad)[:1], after=heard)
        cases[f"3 bits {bits} on a ping"] = fails(1002, frame(PING, reserved=bits << 4))
        cases[f"3 bits {bits} on a close"] = fails(1002, frame(CLOSE, reserved=bits << 4))
    return cases


def _opcodes() -> dict[str, Case]:
    cases = {}
    good, heard = frame(TEXT, HELLO), [(TEXT, HELLO.encode())]
    for opcode in (*range(3, 8), *range(11, 16)):
        cases[f"4 opcode {opcode}"] = fails(1002, frame(opcode))
        cases[f"4 opcode {opcode} with payload"] = fails(1002, frame(opcode, "reserved payload"))
        cases[f"4 opcode {opcode} behind a message"] = fails(1002, good, frame(opcode), frame(PING), after=heard)
        cases[f"4 opcode {opcode} bytewise"] = fails(1002, good, *bytewise(frame(opcode, "x"))[:1], after=heard)
    return cases


def _fragmentation() -> dict[str, Case]:
    first, last = frame(TEXT, "fragment1", is_final=False), frame(MORE, "fragment2")
    whole, ping = [(TEXT, b"fragment1fragment2")], frame(PING, "between")
    five = [frame(TEXT if n == 1 else MORE, f"fragment{n}", is_final=n == 5) for n in range(1, 6)]
    answers = [
        (PONG, b"pongme 1!"),
        (PONG, b"pongme 2!"),
        (TEXT, b"".join(f"fragment{n}".encode() for n in range(1, 6))),
    ]
    woven = [*five[:2], frame(PING, "pongme 1!"), *five[2:4], frame(PING, "pongme 2!"), five[4]]
    cases = {
        "5 ping in fragments": fails(1002, frame(PING, "a", is_final=False), frame(MORE, "b")),
        "5 pong in fragments": fails(1002, frame(PONG, "a", is_final=False), frame(MORE, "b")),
        "5 message inside a message": fails(1002, first, frame(TEXT, "fragment2")),
        "5 empty fragments": echoed(TEXT, b"", [frame(TEXT, is_final=False), frame(MORE, is_final=False), frame(MORE)]),
        "5 empty but for the middle": echoed(
            TEXT, b"middle", [frame(TEXT, is_final=False), frame(MORE, "middle", is_final=False), frame(MORE)]
        ),
        "5 continuation after a message": fails(1002, first, last, frame(MORE, "3", is_final=False), after=whole),
    }
    for name, cut in (
        ("one write", lambda *some: [b"".join(some)]),
        ("frames", lambda *some: [*some]),
        ("bytes", bytewise),
    ):
        cases[f"5 two fragments, {name}"] = Case(cut(first, last), whole)
        cases[f"5 a ping between, {name}"] = Case(cut(first, ping, last), [(PONG, b"between"), *whole])
        cases[f"5 five fragments and two pings, {name}"] = Case(cut(*woven), answers)
        for is_final in (True, False):
            nothing = frame(MORE, "nothing to continue", is_final=is_final)
            cases[f"5 nothing to continue, FIN {is_final}, {name}"] = fails(1002, *cut(nothing, frame(TEXT, "x")))
    return cases


GOOD_TEXTS = [
    HELLO.encode(),
    KOSME,
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf0\x9f\xbf\xbe",
    b"\xf4\x8f\xbf\xbf",
]
BAD_TEXTS = [
    KOSME + b"\xed\xa0\x80edited",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    bytes(range(0x80, 0xC0)),
    b"\xc0 ",
    b"\xf8 ",
    b"\xfc ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
]


def _texts() -> dict[str, Case]:
    cases = {}
    for text in GOOD_TEXTS:
        cases[f"6 {text.hex()}"] = echoed(TEXT, text)
        cases[f"6 {text.hex()} in fragments of a byte"] = echoed(TEXT, text, fragments(TEXT, text, 1))
        cases[f"6 {text.hex()} bytewise"] = echoed(TEXT, text, bytewise(frame(TEXT, text)))
    for text in BAD_TEXTS:
        cases[f"6 not UTF-8: {text.hex()}"] = fails(1007, frame(TEXT, text))
        cases[f"6 not UTF-8: {text.hex()} in fragments of a byte"] = fails(1007, b"".join(fragments(TEXT, text, 1)))
    # At once: nothing more is sent, and no answer would come if the server waited for the message's end.
    bad = b"\xf4\x90\x80\x80"
    start, wrong = frame(TEXT, KOSME, is_final=False), frame(MORE, bad, is_final=False)
    cases["6 at once: the fragment"] = fails(1007, start, wrong)
    cases["6 at once: the byte in a frame"] = fails(1007, frame(TEXT, KOSME + bad + b"edited")[: 6 + len(KOSME) + 2])
    cases["6 at once: half a surrogate"] = fails(1007, start, frame(MORE, b"\xed\xa0", is_final=False))
    return cases


def _closes() -> dict[str, Case]:
    def closed(code: int, reason: bytes = b"") -> Case:
        return fails(code, frame(CLOSE, code.to_bytes(2, "big") + reason))

    normal, message = frame(CLOSE, b"\x03\xe8"), frame(TEXT, HELLO)
    heard = [(TEXT, HELLO.encode())]
    big = b"*" * 2**18
    cases = {
        "7 a message, then close": fails(1000, message + normal, after=heard),
        "7 twice": fails(1000, normal + normal),
        "7 a ping behind it": fails(1000, normal + frame(PING)),
        "7 a message behind it": fails(1000, normal + message),
        "7 inside a message": fails(1000, frame(TEXT, "a", is_final=False) + normal + frame(MORE, "b")),
        "7 behind a long message": fails(1000, frame(TEXT, big) + normal + frame(PING), after=[(TEXT, big)]),
        "7 empty": fails(1005, frame(CLOSE)),
        "7 of one byte": fails(1002, frame(CLOSE, b"\x03")),
        "7 with a reason": closed(1000, b"Hello World!"),
        "7 with the longest reason": closed(1000, b"*" * 123),
        "7 with a longer reason": fails(1002, frame(CLOSE, b"\x03\xe8" + b"*" * 124)),
        "7 with a reason that is not UTF-8": fails(1007, frame(CLOSE, b"\x03\xe8" + KOSME + b"\xed\xa0\x80")),
    }
    for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
        cases[f"7 code {code}"] = closed(code)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        cases[f"7 code {code} is never sent"] = fails(1002, frame(CLOSE, code.to_bytes(2, "big")))
    return cases


def _limits() -> dict[str, Case]:
    mebibyte, most = b"*" * 2**20, b"\xfe" * 2**24
    cases = {
        "9 of 16 MiB": echoed(BINARY, most),
        "9 of a byte more": fails(1009, frame(BINARY, most + b"!")[:14]),
        "9 of a byte more, in fragments": fails(1009, *fragments(BINARY, most + b"!", 2**22)),
        "9 of 2 ** 63 - 1 bytes": fails(1009, b"\x82\xff\x7f" + b"\xff" * 7 + MASK),
        "10 fragments of 1300": echoed(TEXT, b"*" * 65536, fragments(TEXT, b"*" * 65536, 1300)),
    }
    for size in (64, 1024, 2**16, 2**20):
        cases[f"9 fragments of {size}"] = echoed(TEXT, mebibyte, [b"".join(fragments(TEXT, mebibyte, size))])
    for size in (64, 1024, 2**16):
        cases[f"9 chops of {size}"] = echoed(TEXT, mebibyte, chopped(frame(TEXT, mebibyte), size))
    for size in (0, 16, 64, 256, 1024, 4096):
        some = [(BINARY, bytes([number & 255]) * size) for number in range(200)]
        cases[f"9 many of {size}"] = Case([b"".join(frame(*each) for each in some)], some)
    return cases


CASES = {
    **_framing(), **_pings(), **_reserved(), **_opcodes(), **_fragmentation(), **_texts(), **_closes(), **_limits()
}  # fmt: skip
