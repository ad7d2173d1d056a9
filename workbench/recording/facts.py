"""What a recording says about itself and the run before its first sample: the rows of `meta`.

It opens no file of a recording. Invariant: each fact is text, and one that cannot be had is left out, never guessed.
"""

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from server.journal.schema import RECORDING
from server.palette import hex_colors
from server.system import clock
from workbench.machine.facts import read_facts
from workbench.scenarios.scenario import Scenario
from workbench.scenarios.text import scenario_text

_PACKAGE = "pixel-canvas-workbench"
_LOCK = Path(__file__).parents[2] / "uv.lock"


def facts_of(scenario: Scenario, machine: dict[str, Any], now_ns: int) -> dict[str, str]:
    """The rows of `meta`. `machine`: as a summary tells it; `now_ns`: the beginning of the session."""
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
    """Of Python, of this package and of those that it needs, as they are installed."""
    found = {"python": platform.python_version()}
    try:
        needed = [text for text in metadata.requires(_PACKAGE) or () if "extra ==" not in text]
        found[_PACKAGE] = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return found  # Run from its sources without being installed.
    for text in needed:
        name = text.partition(";")[0].split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].strip()
        found[name] = metadata.version(name)
    return found


def _limits() -> dict[str, Any]:
    """What bounds a run on this machine beside its cores."""
    facts = read_facts()
    return {
        "core_quota": facts.core_count,
        "memory_bytes": facts.memory_bytes,
        "memory_limit_bytes": facts.memory_limit_bytes,
        "open_files": facts.open_files_hard,
        "platform": facts.platform,
    }
