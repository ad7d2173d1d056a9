"""Frames: heads against the RFC's own examples and an obvious twin, masks, close frames, text, keys."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.protocol.handshake import accept_key, is_handshake_key, new_handshake_key
from server.protocol.websocket import (
    CloseCode,
    LocalError,
    ProtocolViolation,
    Utf8Check,
    apply_mask,
    decode_close,
    encode_close,
    encode_frame,
    parse_head,
)
from server.wire import RSV1, Opcode

HELLO_MASKED = "81 85 37fa213d 7f9f4d5158"


def test_rfc_6455_section_1_3_accept_key() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_section_4_1_handshake_keys() -> None:
    assert new_handshake_key(b"the sample nonce") == "dGhlIHNhbXBsZSBub25jZQ=="
    assert is_handshake_key("dGhlIHNhbXBsZSBub25jZQ==")
    for key in ("", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25j*Q==", "é" * 24):
        assert not is_handshake_key(key)


class TestSection5_7Examples:  # noqa: N801 - named after the RFC's section.
    """The frames that the RFC writes out."""

    def test_unmasked_text(self) -> None:
        assert encode_frame(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")

    def test_masked_text(self) -> None:
        frame = encode_frame(Opcode.TEXT, b"Hello", mask_key=bytes.fromhex("37fa213d"))
        assert frame == bytes.fromhex(HELLO_MASKED)

    def test_fragments(self) -> None:
        assert encode_frame(Opcode.TEXT, b"Hel", is_final=False) == bytes.fromhex("010348656c")
        assert encode_frame(Opcode.CONTINUATION, b"lo") == bytes.fromhex("80026c6f")

    def test_ping_and_masked_pong(self) -> None:
        assert encode_frame(Opcode.PING, b"Hello") == bytes.fromhex("890548656c6c6f")
        pong = encode_frame(Opcode.PONG, b"Hello", mask_key=bytes.fromhex("37fa213d"))
        assert pong == bytes.fromhex("8a8537fa213d7f9f4d5158")

    def test_256_bytes_and_64_kib(self) -> None:
        assert encode_frame(Opcode.BINARY, bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
        assert encode_frame(Opcode.BINARY, bytes(65536)) == bytes.fromhex("827f0000000000010000") + bytes(65536)


class TestHead:
    @given(
        st.booleans(),
        st.sampled_from([0, RSV1]),
        st.sampled_from(list(Opcode)),
        st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
        st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000]),
    )
    @settings(deadline=None)
    def test_parsing_undoes_encoding(
        self, is_final: bool, reserved: int, opcode: Opcode, key: bytes | None, size: int
    ) -> None:
        if opcode >= Opcode.CLOSE:
            is_final, size = True, min(size, 125)
        if opcode not in (Opcode.TEXT, Opcode.BINARY):
            reserved = 0
        payload = bytes(size)
        frame = encode_frame(opcode, payload, is_final=is_final, mask_key=key, reserved_bits=reserved)
        head = parse_head(b"xx" + frame, 2, reserved_bits_allowed=RSV1)
        assert head is not None
        assert (head.is_final, head.reserved_bits, head.opcode, head.mask_key, head.payload_bytes) == (
            *(is_final, reserved, opcode, key, size),
        )
        assert len(frame) == head.head_bytes + size
        for end in range(head.head_bytes):
            assert parse_head(frame[:end], reserved_bits_allowed=RSV1) is None

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            ("c1", "reserved bits 0x40"),
            ("a1", "reserved bits 0x20"),
            ("91", "reserved bits 0x10"),
            ("83", "opcode 3 is reserved"),
            ("87", "opcode 7 is reserved"),
            ("8b", "opcode 11 is reserved"),
            ("8f", "opcode 15 is reserved"),
            ("09", "PING frame is fragmented"),
            ("08", "CLOSE frame is fragmented"),
            ("897e", "PING frame is longer than 125"),
            ("8aff", "PONG frame is longer than 125"),
            ("827e007d", "length 125 is written in 2 bytes"),
            ("827f000000000000ffff", "length 65535 is written in 8 bytes"),
            ("827f8000000000000000", "highest bit"),
        ],
    )
    def test_section_5_2_and_5_5_faults_are_found_at_their_byte(self, frame: str, reason: str) -> None:
        data = bytes.fromhex(frame)
        with pytest.raises(ProtocolViolation, match=reason) as caught:
            parse_head(data)
        assert caught.value.close_code == CloseCode.PROTOCOL_ERROR
        assert parse_head(data[:-1]) is None

    def test_a_negotiated_bit_allows_no_other(self) -> None:
        assert parse_head(b"\xc1\x00", reserved_bits_allowed=RSV1) is not None
        with pytest.raises(ProtocolViolation, match="reserved bits 0x60"):
            parse_head(b"\xe1\x00", reserved_bits_allowed=RSV1)

    @pytest.mark.parametrize("first", [0xC0, 0x40, 0xC8, 0xC9, 0xCA])
    def test_rfc_7692_section_6_only_a_first_frame_has_the_bit(self, first: int) -> None:
        with pytest.raises(ProtocolViolation, match="only a message's first frame"):
            parse_head(bytes([first]), reserved_bits_allowed=RSV1)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.integers(0, 9))
@settings(deadline=None)
def test_section_5_3_mask_is_the_obvious_loop(payload: bytes, key: bytes, offset: int) -> None:
    naive = bytes(byte ^ key[(offset + index) % 4] for index, byte in enumerate(payload))
    assert apply_mask(payload, key, offset) == naive
    assert apply_mask(naive, key, offset) == payload


class TestClose:
    def test_section_5_5_1_payloads(self) -> None:
        assert decode_close(b"") == (CloseCode.NO_STATUS, "")
        assert decode_close(b"\x03\xe8") == (1000, "")
        assert decode_close(b"\x0f\xa0\xc3\xa9") == (4000, "é")
        assert encode_close(CloseCode.NO_STATUS) == b""
        assert encode_close(1002, "é") == b"\x03\xea\xc3\xa9"

    @pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999])
    def test_section_7_4_codes_that_may_be_sent(self, code: int) -> None:
        assert decode_close(encode_close(code)) == (code, "")

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
    def test_section_7_4_codes_that_may_not(self, code: int) -> None:
        with pytest.raises(ProtocolViolation, match=f"close code {code}") as caught:
            decode_close(code.to_bytes(2, "big"))
        assert caught.value.close_code == 1002
        if code != CloseCode.NO_STATUS:
            with pytest.raises(LocalError, match=f"close code {code}"):
                encode_close(code)

    def test_one_byte_and_broken_text(self) -> None:
        with pytest.raises(ProtocolViolation, match="1 byte") as caught:
            decode_close(b"\x03")
        assert caught.value.close_code == 1002
        with pytest.raises(ProtocolViolation, match="not UTF-8") as caught:
            decode_close(b"\x03\xe8\xff")
        assert caught.value.close_code == 1007

    @given(st.text())
    @settings(deadline=None)
    def test_a_long_reason_is_cut_between_characters(self, reason: str) -> None:
        payload = encode_close(1000, reason)
        assert len(payload) <= 125
        text = decode_close(payload)[1]
        assert reason.startswith(text)
        assert text == reason or len((text + reason[len(text)]).encode()) > 123


class TestUtf8:
    """RFC 6455, 8.1: text that is not UTF-8 ends the connection with 1007."""

    @given(st.text(), st.lists(st.integers(0, 50)))
    @settings(deadline=None)
    def test_text_cut_anywhere_is_text(self, text: str, cuts: list[int]) -> None:
        data, check, start = text.encode(), Utf8Check(), 0
        for end in sorted(cuts):
            check.feed(data[start:end], is_last=False)
            start = max(start, end)
        check.feed(data[start:], is_last=True)

    @pytest.mark.parametrize(
        "data", [b"\xc0", b"\xff", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xf5", b"a\x80", b"\xc3a"]
    )
    def test_a_fault_is_found_at_its_byte(self, data: bytes) -> None:
        check = Utf8Check()
        check.feed(data[:-1], is_last=False)
        with pytest.raises(ProtocolViolation, match="text is not UTF-8") as caught:
            check.feed(data[-1:], is_last=False)
        assert caught.value.close_code == CloseCode.INVALID_DATA

    def test_half_a_character_at_the_end(self) -> None:
        check = Utf8Check()
        check.feed(b"\xe2\x82", is_last=False)
        with pytest.raises(ProtocolViolation, match="text is not UTF-8"):
            check.feed(b"", is_last=True)
