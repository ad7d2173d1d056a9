"""The one door to numba: the `kernel` decorator, its cache, and compiling it all before it is needed.

Callers list their kernels as `Warm` entries and call `compile_all` first, so that no client waits for a compiler.
"""

import hashlib
import pickle
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numba
from numba.core import types
from numba.core.caching import NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.extending import intrinsic
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps

from server.kernels.cache import Store, find_place

__all__ = [
    "Warm",
    "address_of",
    "compile_all",
    "is_compiled",
    "kernel",
    "libc_function",
    "types",
]

# Without numba's own memory management: our kernels allocate nothing, and counting references to the arrays they are
# handed took a quarter of a server's time.
_OPTIONS = {
    "nopython": True,
    "_nrt": False,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": False,
    "boundscheck": False,  # NUMBA_BOUNDSCHECK=1 overrides this for all kernels, as in one pass of the tests.
}

_store = Store(find_place())


# Not numba's own: that keeps an index and its data in separate files, which two processes that compile at once can mix
# up, and it loads damaged files, which raise anything or end the process.
class _Cache(NullCache):
    """Compiled forms of one function, as numba's dispatcher asks for them and hands them over."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The form for these types and this processor; None: it is to be compiled."""
        target_context.refresh()
        payload = _store.load(self._name(signature, target_context.codegen()))
        if payload is None:
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception:  # A whole file of no use here may raise anything. Compiling is the remedy.
            _store.note_damage()
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled."""
        assert not result.library.has_dynamic_globals, f"{self._function} holds an address of this process"
        _store.save(self._name(signature, result.codegen), dumps(result._reduce()))

    def _name(self, signature: Any, codegen: Any) -> str:
        """All that the machine code depends on, but for what its folder stands for."""
        code = self._function.__code__
        where = f"{self._function.__module__}.{self._function.__qualname__}"
        return f"{where} {code.co_firstlineno} {_digest_of(code.co_filename)} {signature} {codegen.magic_tuple()}"


class _InnerLibrary(JITCodeLibrary):
    """The code of one kernel for those that call it. It is optimized where it is linked, and never run by itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _InnerCompiler(Compiler):
    """Compiles a kernel for other kernels, without what Python or C would need to call it."""

    def __init__(
        self, typing_context: Any, target_context: Any, library: Any, args: Any, result: Any, flags: Any, names: Any
    ) -> None:
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        library = _InnerLibrary(target_context.codegen(), "inner")
        super().__init__(typing_context, target_context, library, args, result, flags, names)


class _InnerKernel(CPUDispatcher):
    """A kernel as other kernels call it."""

    def add_overload(self, compiled: CompileResult) -> None:
        """Make it known by a key, since it has no entry point that could be its key."""
        compiled = compiled._replace(entry_point=object())
        self.targetctx.insert_user_function(compiled.entry_point, compiled.fndesc, [compiled.library])
        self.overloads[tuple(compiled.signature.args)] = compiled


class _Kernel(CPUDispatcher):
    """A kernel as Python calls it.

    numba compiles every function for every caller. Half of the time went into entries, optimization and machine code
    of functions that only kernels call, and that are linked into these and optimized there once more.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, targetoptions=_OPTIONS)
        self._cache = _Cache(function)
        self._inner = _InnerKernel(function, targetoptions=_OPTIONS, pipeline_class=_InnerCompiler)

    @property
    def _numba_type_(self) -> types.Dispatcher:
        """What stands for it in a kernel that calls it."""
        return types.Dispatcher(self._inner)

    def add_overload(self, compiled: CompileResult) -> None:
        """Give what it calls their environments, as it has its own. A loaded one has them all."""
        for environment in compiled._find_referenced_environments():
            compiled.codegen.set_env(environment.env_name, environment)
        super().add_overload(compiled)


@cache
def _digest_of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` as every kernel is: cached, no interpreter lock, exact arithmetic, no bounds checks."""
    if not is_compiled():
        return function
    assert function.__closure__ is None, f"{function} has a closure, which the cache does not know"
    return _Kernel(function)


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


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def compile_all(
    warms: Sequence[Warm],
    progress: Callable[[int, int, str], None],
    note: Callable[[str], None] = _to_stderr,
) -> None:
    """Compile or load each kernel. `progress(done, total, name)` is called before each, and once at the end.

    `note` takes a line for a person when the cache is damaged, or cannot be kept.
    """
    for done, warm in enumerate(warms):
        progress(done, len(warms), warm.name)
        if is_compiled():
            warm.kernel.compile(tuple(numba.typeof(argument) for argument in warm.example()))
            for line in _store.take_notes():
                note(line)
    progress(len(warms), len(warms), "")
