"""The broker in Python, amqtt, as a program of its own: for machines that have no other.

    python -m server.bridge.embedded PORT

It speaks MQTT 3.1.1 on loopback, lets everybody in and keeps nothing. Invariant: it imports nothing of the server.
"""

import asyncio
import sys

from amqtt.broker import Broker


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
