"""The facts of a recording, which are the rows of `meta`: what was run, where, and with which versions.

Each fact is text; one that is not known is left out. One of them holds the checksums of all others: a CRC-32 of each
"key=value", as one JSON object.
"""

import hashlib
import json
import platform
import re
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from server.journal.schema import RECORDING
from server.palette import hex_colors
from server.system import clock
from workbench.machine.facts import read_facts
from workbench.scenarios.scenario import Scenario, scenario_text

_PACKAGE = "pixel-canvas-workbench"
_LOCK = Path(__file__).parents[2] / "uv.lock"


def facts_of(scenario: Scenario, machine: dict[str, Any], now_ns: int) -> dict[str, str]:
    """The rows of `meta`. `machine`: as in a summary; `now_ns`: the start of the session."""
    facts = {
        "kind": RECORDING,
        "width": str(scenario.server.width),
        "height": str(scenario.server.height),
        "palette": json.dumps(hex_colors()),
        "created_utc": clock.utc(),
        "started_ns": str(now_ns),
        "scenario": scenario_text(scenario),
        "seed": str(scenario.seed),
        "machine": json.dumps(machine | _limits()),
        "versions": json.dumps(versions()),
    }
    if _LOCK.exists():
        facts["lock_sha256"] = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    return facts


def versions() -> dict[str, str]:
    """The installed versions of Python, of this package and of those that it requires."""
    found = {"python": platform.python_version()}
    try:
        needed = [text for text in metadata.requires(_PACKAGE) or () if "extra ==" not in text]
        found[_PACKAGE] = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return found  # Run from a checkout, without being installed.
    # A requirement is a name, and then maybe extras, versions or markers: "rich >= 13 ; python_version < '4'".
    names = (re.split(r"[^\w.-]", text.strip(), maxsplit=1)[0] for text in needed)
    return found | {name: metadata.version(name) for name in names}


def _limits() -> dict[str, Any]:
    """The limits of this machine beside its cores."""
    facts = read_facts()
    return {
        "core_quota": facts.core_count,
        "memory_bytes": facts.memory_bytes,
        "memory_limit_bytes": facts.memory_limit_bytes,
        "open_files": facts.open_files_hard,
        "platform": facts.platform,
    }


# The key of the fact that holds the checksums.
CHECKS = "checks"


def checked(facts: Mapping[str, str]) -> dict[str, str]:
    """These facts and their checksums."""
    crcs = {key: _crc(key, value) for key, value in facts.items() if key != CHECKS}
    return {**facts, CHECKS: msgspec.json.encode(crcs).decode()}


def fault_in(facts: Mapping[str, str]) -> str:
    """The fault of the first fact that is not what was written, as a part of a sentence; "" without any.

    Facts without checksums have no fault. Raises msgspec.MsgspecError for checksums that cannot be read.
    """
    if CHECKS not in facts:
        return ""
    crcs = msgspec.json.decode(facts[CHECKS], type=dict[str, int])
    for key in dict.fromkeys((*crcs, *facts)):
        if key not in facts:
            return f"it lacks its {key}"
        if key != CHECKS and _crc(key, facts[key]) != crcs.get(key):
            return f"its {key} is not what was written"
    return ""


def _crc(key: str, value: str) -> int:
    return zlib.crc32(f"{key}={value}".encode())
