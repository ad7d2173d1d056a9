"""The one door to numba: the `kernel` decorator, and compiling it all before it is needed.

Invariant: a kernel never runs uncompiled in front of a client. Callers list their kernels as `Warm` entries and call
`compile_all` first, which shows how far it is.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
from numba.core import types
from numba.core.extending import intrinsic

from server.kernels.cache import cache_folder

__all__ = [
    "Warm",
    "address_of",
    "cache_folder",
    "compile_all",
    "is_compiled",
    "kernel",
    "libc_function",
    "types",
]

# Without numba's own memory management: our kernels allocate nothing, and counting references to the arrays they are
# handed took a quarter of a server's time.
_OPTIONS = {
    "_nrt": False,
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": False,
    "boundscheck": False,
}

numba.config.CACHE_DIR = str(cache_folder())


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` as every kernel is: cached, no interpreter lock, exact arithmetic, no bounds checks."""
    return numba.njit(**_OPTIONS)(function)


def libc_function(name: str, signature: Any) -> Any:
    """A C library function that kernels can call; unlike a ctypes pointer it survives the cache."""
    return types.ExternalFunction(name, signature)


@intrinsic
def address_of(typing_context: Any, array: Any) -> Any:
    """The address of an array's first byte, as a signed 64-bit integer, for libc calls from a kernel."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        structure = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.ptrtoint(structure.data, context.get_value_type(types.int64))

    return types.int64(array), codegen


def is_compiled() -> bool:
    """False when NUMBA_DISABLE_JIT runs the kernels as plain Python."""
    return not numba.config.DISABLE_JIT


class Warm(NamedTuple):
    """A kernel and arguments like those it will be called with (only their types matter)."""

    name: str
    kernel: Any
    example: Callable[[], tuple[Any, ...]]


def compile_all(warms: Sequence[Warm], progress: Callable[[int, int, str], None]) -> None:
    """Compile or load each kernel. `progress(done, total, name)` is called before each, and once at the end."""
    for done, warm in enumerate(warms):
        progress(done, len(warms), warm.name)
        if is_compiled():
            warm.kernel.compile(tuple(numba.typeof(argument) for argument in warm.example()))
    progress(len(warms), len(warms), "")
