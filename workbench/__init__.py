"""The workbench: command line, scenarios, the session that wires the processes, the window, and recordings."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devices.client import Client, ConnectionEnded
    from workbench.library import RecordedRun, Summary, open_recording, run_scenario

__all__ = ["Client", "ConnectionEnded", "RecordedRun", "Summary", "open_recording", "run_scenario"]
_OF_CLIENT = ("Client", "ConnectionEnded")


def __getattr__(name: str) -> Any:
    # Imported on first use: each process of a run imports this package, and most need nothing of the library.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("devices.client" if name in _OF_CLIENT else "workbench.library"), name)
