"""The peer Node `ws`: a Node process that counts, and this one, which puts its words on the telemetry page.

The processor time told is Node's own; this process reads ten lines a second.
"""

import asyncio
import base64
import os
import shutil
from pathlib import Path

import msgspec

from workbench.bench.peers.tally import Tally

SCRIPT = Path(__file__).with_name("ws.mjs")
_END_WAIT_S = 2.0


class Figures(msgspec.Struct, frozen=True):
    """One line of the script."""

    port: int = 0
    count: int = 0
    cpu_us: int = 0
    resident_bytes: int = 0


def module_folders() -> list[Path]:
    """Where Node may find `ws`: here, in NODE_PATH, where Debian keeps modules, and beside the `node` program."""
    folders = [Path.cwd() / "node_modules", *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))]
    folders.append(Path("/usr/share/nodejs"))
    if program := shutil.which("node"):
        folders.append(Path(program).resolve().parents[1] / "lib" / "node_modules")
    return folders


async def serve(tally: Tally) -> None:
    """Count until the tally is told to stop."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        base64.b64encode(tally.hello).decode(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_PATH": os.pathsep.join(map(str, module_folders()))},
    )
    assert process.stdin is not None and process.stdout is not None
    first = msgspec.json.decode(await process.stdout.readline(), type=Figures)
    follower = asyncio.create_task(_follow(process.stdout, tally))
    await tally.listen(first.port)
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_WAIT_S)
    except TimeoutError:
        process.kill()
    await follower


async def _follow(lines: asyncio.StreamReader, tally: Tally) -> None:
    """Take over what Node says, and its cost for ours."""
    latest = Figures()
    tally.cost = lambda: (latest.cpu_us * 1000, latest.resident_bytes)
    async for line in lines:
        latest = msgspec.json.decode(line, type=Figures)
        tally.count = latest.count
