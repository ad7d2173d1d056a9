"""What `workbench run --from-recording` does: the same arrivals at a server of today, and what came out otherwise.

It reads no command line. What is placed are the recorded changes of each tick, which is what the canvas is made of, not
the placements that were overwritten or refused before. Invariant: nothing of these is refused for rate.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from devices.config import FleetConfig
from workbench.comparison.command import compare_files
from workbench.comparison.table import print_comparison
from workbench.errors import UserError, shown
from workbench.recording.reader import Recording
from workbench.run.show import Outputs, Show
from workbench.scenarios.scenario import Scenario, apply_override, scenario_of
from workbench.session.processes import module_command
from workbench.session.session import COMMANDS
from workbench.stop_signal import StopSignal

COURIERS = 16
"""Connections: at 65,535 placements a second each, more than a million a second."""
_UNLIMITED = 65_535
_FREE_KEYS = ("loop", "loops")
_ADDRESS_KEYS = ("server.host", "server.port", "server.token")
"""Where it is and who is let in: they make no other server of it, and a token is not to be told."""
_FIXED_KEYS = ("server.width", "server.height", "server.rate_per_s", "server.burst", "server.counts_only")


class _Plan(NamedTuple):
    """One run: what it is called, and what is run."""

    name: str
    scenario: Scenario


class _Verdict(NamedTuple):
    """Whether a run ended with the recorded canvas, and how that is told."""

    is_same: bool
    text: str


def rerun(file: Path, overrides: Sequence[str], outputs: Outputs) -> int:
    """Place the arrivals of `file` again and print whether the canvas is the same. Returns the exit code: 1 if not.

    With `overrides` of its server's settings it is done twice, with the server as it was and with the other one, and
    what differs is printed. Raises UserError for what cannot be laid over a recording, or for one without arrivals.
    """
    with Recording.open(file) as recording:
        where = [override for override in overrides if _key(override) in _ADDRESS_KEYS]
        plans = [_Plan("the server as recorded", rerun_scenario(recording, where))]
        changes = [override for override in overrides if override not in where]
        if changes:
            words = " ".join(f"--set {override}" for override in changes)
            plans.append(_Plan(f"the server with {words}", rerun_scenario(recording, overrides)))
        if next(recording.frames(), None) is None:
            raise UserError(f"{file} holds no change of the canvas, so there is nothing to place again")
        checksum = recording.checksum()
    commands = {**COMMANDS, "fleet": [*module_command("workbench.rerun"), str(file.absolute())]}
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        if changes and outputs.record is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="pixel-canvas-"))
            outputs = replace(outputs, record=Path(folder) / "again.pxr")
        show = stack.enter_context(closing(Show(outputs, stop, commands=commands)))
        verdicts, made = [], []
        for plan in plans:
            show.play(plan.scenario)
            if show.exit_code or not show.is_finished:
                print("ended before all was placed, so the canvas is not compared", file=outputs.talk)
                return show.exit_code
            verdicts.append(_verdict(plan.name, checksum, show.figures))
            made.append(show.recorded)
        show.close()
        if changes:
            print_comparison(compare_files([path for path in made if path is not None]), outputs.talk)
    print("\n".join(verdict.text for verdict in verdicts), file=outputs.talk)
    return 0 if all(verdict.is_same for verdict in verdicts) else 1


def rerun_scenario(recording: Recording, overrides: Sequence[str]) -> Scenario:
    """The recorded scenario with another server, and couriers for its fleet. Raises UserError."""
    for override in overrides:
        key = _key(override)
        if (
            key in _FIXED_KEYS
            or key.startswith("server.journal")
            or not (key in _FREE_KEYS or key.startswith("server."))
        ):
            raise UserError(f"--set {override}: a rerun takes all but the server's settings from the recording")
    tree = recording.scenario_tree
    for key in ("link", "faults", "load_curve", "seconds", "fleet"):
        tree.pop(key, None)
    for key in ("cert", "key"):
        tree.get("server", {}).pop(key, None)  # The couriers speak no TLS.
    for override in overrides:
        apply_override(tree, override)
    scenario = scenario_of(tree, f"{recording.path}: its scenario")
    server = msgspec.structs.replace(
        scenario.server,
        width=recording.width,
        height=recording.height,
        rate_per_s=_UNLIMITED,
        burst=_UNLIMITED,
        evict_after_s=0.0,
        journal="",
    )
    fleet = FleetConfig(connections=COURIERS, viewers=1, rate_per_s=0, pattern="image")
    title = f"The arrivals of {shown(recording.path.name)} once more"
    return msgspec.structs.replace(scenario, title=title, server=server, fleet=fleet)


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _verdict(name: str, recorded: int, figures: dict[str, Any]) -> _Verdict:
    now = figures["canvas_checksum"]
    if now == recorded:
        return _Verdict(True, f"{name}: the canvas is the same, checksum {recorded:08x}")
    return _Verdict(False, f"{name}: the canvas is another one, checksum {now:08x}; recorded was {recorded:08x}")
