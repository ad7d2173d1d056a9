"""The checks at the end of a run: viewers, the server's ledger, and lost connections that nothing asked for.

What a run asked for is what was configured or clicked, not what happened. Connections that the fleet itself cuts or
closes, as under churn, are never counted as lost.
"""

from devices.config import FleetConfig
from server.config import ServerConfig
from workbench.scenarios.fault import Fault
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.counters import Counters

# The faults that make the server, or the broker, end connections.
_RESETS = ("kill loop clients", "pause broker")


class Checks:
    """Notes the settings and faults of one run that may end connections, and says at its end which checks failed."""

    def __init__(self, scenario: Scenario) -> None:
        self._counts_only = scenario.server.counts_only
        self._asks_for_resets = self._asks_for_evictions = False
        self.note_settings(scenario)

    def note_settings(self, scenario: Scenario) -> None:
        """Note these settings, which apply from now on. What was asked for once stays asked for."""
        self._asks_for_evictions |= _evicts(scenario.server) or _stalls(scenario.fleet)

    def note_fault(self, fault: Fault) -> None:
        """Note a fault that was applied."""
        self._asks_for_resets |= fault.kind in _RESETS
        self._asks_for_evictions |= fault.kind == "stall devices"

    def failures(self, last: Counters) -> list[str]:
        """One line for each check that failed, from the counters at the end."""
        fleet = last.fleet
        failures = []
        if wrong := int(fleet["viewer_wrong_count"]):
            checked = int(fleet["viewer_checked_count"])
            failures.append(f"viewers: {wrong:,} of {checked:,} differ from the server's canvas at the end")
        # A server that only counts applies nothing, so its ledger cannot add up.
        if (gap := int(last.server["ledger_gap"])) and not self._counts_only:
            failures.append(f"ledger: {gap:,} placements are unaccounted for at the end")
        if (lost := int(fleet["lost_count"]) - self._asked_losses(last)) > 0:
            failures.append(f"connections: {lost:,} lost, and neither a fault nor a setting asked for it")
        return failures

    def _asked_losses(self, last: Counters) -> int:
        """How many of the lost connections the run asked for, at most."""
        lost = int(last.fleet["lost_count"])
        # How many connections a loop or a broker had at the moment of its fault is not known.
        if self._asks_for_resets:
            return lost
        if not self._asks_for_evictions:
            return 0
        # The server counts what it closes by a rule. What another server closes is not known.
        return last.loop_sum("evicted_count") if last.server_alive else lost


def _evicts(server: ServerConfig) -> bool:
    """Whether a rule of the server closes connections that are over their limit."""
    return server.evict_after_s > 0


def _stalls(fleet: FleetConfig) -> bool:
    """Whether viewers take no bytes, or take them slowly, so that the server closes them after `stall_s`."""
    return fleet.viewer_count > 0 and (fleet.slow_ratio > 0 or fleet.viewer_brake_us > 0)
