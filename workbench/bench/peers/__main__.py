"""A peer's process: `python -m workbench.bench.peers NAME`, with the commands and events of a server of our own."""

import asyncio
import sys

from server.ipc import control
from server.ipc.control import Command, StartServer, Stop
from server.ipc.page import Page, telemetry_sections
from server.system import standard_streams
from workbench.bench.peers.counter import Counter
from workbench.bench.peers.servers import SERVERS


async def _serve(name: str, start: StartServer) -> None:
    counter = Counter(Page.attach(start.telemetry_fd, telemetry_sections(start.config.loops)), start.config)
    loop = asyncio.get_running_loop()

    def on_command(command: Command) -> None:
        if isinstance(command, Stop):
            counter.publish()  # The event loop may be too busy to publish before the process is killed.
            loop.call_soon_threadsafe(counter.stopped.set)

    control.follow_commands(on_command)
    await SERVERS[name](counter)
    counter.publish()


def main() -> int:
    """Run the peer that the first argument names."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    asyncio.run(_serve(sys.argv[1], control.read_start(StartServer)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
