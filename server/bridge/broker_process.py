"""The process of a broker that the server starts: it ends with the server, however the server ends.

    python -m server.bridge.broker_process PARENT PROGRAM ARGUMENTS...
    python -m server.bridge.broker_process PARENT amqtt PORT

The program amqtt is not another program, but the broker in Python, for machines that have no other: MQTT 3.1.1 on
loopback, without logins and without storage. This module imports nothing of the server, so that it starts fast.
"""

import asyncio
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then become the program."""
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        # The kernel kills this process when the parent ends, and keeps that across `exec`. Elsewhere, only a parent
        # that ends in order ends its broker.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before the call above.
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")
    if program[0] == "amqtt":
        asyncio.run(_serve(int(program[1])))
    else:
        os.execvp(program[0], program)


async def _serve(port: int) -> None:
    from amqtt.broker import Broker

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
