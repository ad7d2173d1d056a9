"""Compiles every kernel of a part into the cache, before tests that many processes share begin.

    python -m support.compiling server|fleet    (in tests/)

It is not a test. What it leaves out is compiled by the first test that needs it.
"""

import sys

from devices.warm import warm_kernels
from server.kernels.kernel import compile_all
from support.serving import Serving


def compile_part(part: str) -> None:
    """Compile the kernels of the server's loops, or those of the fleet."""
    if part == "fleet":
        compile_all(warm_kernels(), _say_nothing)
        return
    for loop in ("native", "portable"):
        Serving(loop=loop).server.prepare(_say_nothing)


def _say_nothing(done: int, total: int, name: str) -> None:
    """Compiling takes long only on a machine that has no kernels yet."""


if __name__ == "__main__":
    compile_part(sys.argv[1])
