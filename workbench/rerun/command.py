"""What `workbench run --from-recording` does: the recorded arrivals again at a present server, and what differs.

What is placed are the recorded changes of each tick, of which the canvas is made, not the placements that were
overwritten or rejected. The server's rate limit is set so high that it rejects none of them.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

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

# Connections: at 65,535 placements a second each, more than a million a second.
CLIENTS = 16
_UNLIMITED = 65_535
_FREE_KEYS = ("loop", "loops")
# Address and access: these make no other server of it, and a token must not be printed.
_ADDRESS_KEYS = ("server.host", "server.port", "server.token")
_FIXED_KEYS = ("server.width", "server.height", "server.rate_per_s", "server.burst", "server.counts_only")


def rerun(file: Path, overrides: Sequence[str], outputs: Outputs) -> int:
    """Place the arrivals of `file` again and print whether the canvas is the same. Returns the exit code: 1 if not.

    With `overrides` of its server's settings it runs twice, with the server as recorded and with the changed one, and
    prints what differs. Raises UserError for a key that cannot be overridden, and for a recording without arrivals.
    """
    with Recording.open(file) as recording:
        where = [override for override in overrides if _key(override) in _ADDRESS_KEYS]
        # An address or a token makes no other server of it, so it applies to both runs.
        plans = {"the server as recorded": rerun_scenario(recording, where)}
        changes = [override for override in overrides if override not in where]
        if changes:
            words = " ".join(f"--set {override}" for override in changes)
            plans[f"the server with {words}"] = rerun_scenario(recording, overrides)
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
        lines, made, is_same = [], [], True
        for name, scenario in plans.items():
            show.play(scenario)
            if show.has_failed or not show.is_finished:
                print("ended before all was placed, so the canvas is not compared", file=outputs.talk)
                return show.exit_code
            found = show.figures["canvas_checksum"]
            is_same = is_same and found == checksum
            differs = f"another one, checksum {found:08x}; recorded was {checksum:08x}"
            lines.append(
                f"{name}: the canvas is {f'the same, checksum {checksum:08x}' if found == checksum else differs}"
            )
            made.append(show.recorded)
        show.close()
        if changes:
            print_comparison(compare_files([path for path in made if path is not None]), outputs.talk)
    print("\n".join(lines), file=outputs.talk)
    return show.exit_code or (0 if is_same else 1)


def rerun_scenario(recording: Recording, overrides: Sequence[str]) -> Scenario:
    """The recorded scenario with these overrides, and a playback in place of its fleet. Raises UserError."""
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
        tree.get("server", {}).pop(key, None)  # Playback does not speak TLS.
    for override in overrides:
        apply_override(tree, override)
    scenario = scenario_of(tree, f"{recording.path}: its scenario")
    # The recording has only accepted changes: limits and evictions must not reject any of them now.
    server = msgspec.structs.replace(
        scenario.server,
        width=recording.width,
        height=recording.height,
        rate_per_s=_UNLIMITED,
        burst=_UNLIMITED,
        evict_after_s=0.0,
        journal="",
    )
    fleet = FleetConfig(connections=CLIENTS, viewers=1, rate_per_s=0, pattern="image")
    title = f"The arrivals of {shown(recording.path.name)} once more"
    return msgspec.structs.replace(scenario, title=title, server=server, fleet=fleet)


def _key(override: str) -> str:
    return override.partition("=")[0].strip()
