"""The C library as kernels call it: clock, epoll, sockets, memory. Linux only; nothing here imports sockets or time.

Pointers are signed 64-bit integers, from `address_of` or `malloc`: numba makes a float of unsigned plus signed. The
caller owns every buffer for the length of the call. Results are as in the manual pages: -1 and `error_number()` on
failure.
"""

import platform

import numpy as np
from llvmlite import ir

from server.kernels.kernel import intrinsic, kernel, libc_function, types

_i64, _i32 = types.int64, types.int32

epoll_wait = libc_function("epoll_wait", _i32(_i32, _i64, _i32, _i32))
epoll_ctl = libc_function("epoll_ctl", _i32(_i32, _i32, _i32, _i64))
recv = libc_function("recv", _i64(_i32, _i64, _i64, _i32))
send = libc_function("send", _i64(_i32, _i64, _i64, _i32))
malloc = libc_function("malloc", _i64(_i64))
free = libc_function("free", types.void(_i64))
memcpy = libc_function("memcpy", _i64(_i64, _i64, _i64))
memcmp = libc_function("memcmp", _i32(_i64, _i64, _i64))
usleep = libc_function("usleep", _i32(_i32))
_errno_location = libc_function("__errno_location", _i64())

EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP = 0x001, 0x004, 0x008, 0x010, 0x2000
EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
MSG_DONTWAIT, MSG_NOSIGNAL = 0x40, 0x4000
EAGAIN, EINTR = 11, 4

# `struct epoll_event` (events u32, data u64) is packed on x86-64 and aligned elsewhere.
EVENT_BYTES = 12 if platform.machine() in ("x86_64", "AMD64") else 16
EVENT_DATA = EVENT_BYTES - 8


@intrinsic
def monotonic_ns(typing_context):
    """CLOCK_MONOTONIC in int64 nanoseconds: the same clock as `server.system.clock.now_ns`, about 25 ns a call."""

    def codegen(context, builder, signature, args):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        pair = ir.ArrayType(i64, 2)
        # In the entry block: inside a loop, an alloca would take stack in each round.
        with builder.goto_entry_block():
            timespec = builder.alloca(pair)
        function_type = ir.FunctionType(i32, [i32, pair.as_pointer()])
        # A module may declare a function only once.
        function = builder.module.globals.get("clock_gettime")
        if function is None:
            function = ir.Function(builder.module, function_type, "clock_gettime")
        builder.call(function, [i32(1), timespec])
        zero = i32(0)
        seconds = builder.load(builder.gep(timespec, [zero, zero]))
        nanoseconds = builder.load(builder.gep(timespec, [zero, i32(1)]))
        return builder.add(builder.mul(seconds, i64(1_000_000_000)), nanoseconds)

    return types.int64(), codegen


@intrinsic
def _load_i32(typing_context, address):
    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(32).as_pointer())
        return builder.load(pointer)

    return types.int32(types.int64), codegen


@kernel
def event_word(events, at):
    """The little-endian i32 at a byte offset of the event buffer."""
    return (
        np.int64(events[at])
        | np.int64(events[at + 1]) << 8
        | np.int64(events[at + 2]) << 16
        | np.int64(events[at + 3]) << 24
    )


@kernel
def error_number():
    """`errno` of the calling thread, right after a call that failed."""
    return _load_i32(_errno_location())


@kernel
def would_block():
    """True when the call that just failed only asks to be tried again."""
    number = error_number()
    return number == EAGAIN or number == EINTR
