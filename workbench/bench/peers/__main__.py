"""A peer's process: `python -m workbench.bench.peers NAME`, with orders and events like a server's of our own."""

import asyncio
import importlib
import sys

from server.ipc import control
from server.ipc.control import Command, StartServer, Stop
from server.ipc.page import Page, telemetry_sections
from server.system import standard_streams
from workbench.bench.peers.tally import Tally


async def _serve(name: str, start: StartServer) -> None:
    """Count until told to stop."""
    tally = Tally(Page.attach(start.telemetry_fd, telemetry_sections(start.config.loops)), start.config)
    loop = asyncio.get_running_loop()

    def obey(command: Command) -> None:
        if isinstance(command, Stop):
            tally.publish()  # The event loop may be too busy to hear of the end in time.
            loop.call_soon_threadsafe(tally.stopped.set)

    control.follow_commands(obey)
    await importlib.import_module(f"workbench.bench.peers.{name}_peer").serve(tally)
    tally.publish()


def main() -> int:
    """Be the peer that the first word names."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    asyncio.run(_serve(sys.argv[1], control.read_start(StartServer)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
