"""The checksums of a recording's facts, which are a fact themselves: a CRC-32 of each "key=value", as one JSON object.

It opens no file. Invariant: in a file that has them, every fact has a checksum, and every checksum its fact.
"""

import zlib
from collections.abc import Mapping

import msgspec

CHECKS = "checks"
"""The fact's key."""


def checked(facts: Mapping[str, str]) -> dict[str, str]:
    """These facts, and with them the checksums of all."""
    crcs = {key: _crc(key, value) for key, value in facts.items() if key != CHECKS}
    return {**facts, CHECKS: msgspec.json.encode(crcs).decode()}


def fault_in(facts: Mapping[str, str]) -> str:
    """What is wrong with the first fact that is not what was written, as a part of a sentence; "" for none.

    Facts without any checksums are right. Raises msgspec.MsgspecError for checksums that are none.
    """
    if CHECKS not in facts:
        return ""
    crcs = msgspec.json.decode(facts[CHECKS], type=dict[str, int])
    for key in dict.fromkeys((*crcs, *facts)):
        if key not in facts:
            return f"it does not tell its {key}"
        if key != CHECKS and _crc(key, facts[key]) != crcs.get(key):
            return f"its {key} is not what was written"
    return ""


def _crc(key: str, value: str) -> int:
    return zlib.crc32(f"{key}={value}".encode())
