"""The kernels that Python calls in a fleet, with arguments like the real ones, to be compiled before the first device.

A kernel that is missing here would be compiled while devices wait.
"""

from functools import cache

import numpy as np

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels import memory, messages, patterns, probes, random, regions, schedule, sockets, viewer
from devices.kernels.layout import FILL, Arrays, PollState
from devices.sockets.socket_links import new_poll_state
from server.ipc.page import Page, fleet_sections
from server.kernels.kernel import Warm
from server.kernels.layout import SEGMENT
from server.kernels.link import BLOCK
from server.kernels.ring import await_state

_BYTES, _PIXELS, _AGES = np.zeros(1, np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.int16)


@cache
def _example() -> tuple[Arrays, PollState]:
    fleet = Fleet(FleetConfig(connections=1), 1, 1, 0, Page.create(fleet_sections()))
    return fleet.arrays, new_poll_state(fleet, 1, -1)


def warm_kernels() -> list[Warm]:
    """Every kernel of a fleet, for `server.kernels.kernel.compile_all`; the slowest ones last."""
    return [
        Warm("seed", random.seeded, lambda: (np.uint64(0), np.uint64(0))),
        Warm("scatter", patterns.scatter_bits, lambda: (1,)),
        Warm("life", patterns.next_generation, lambda: (_AGES, _AGES)),
        Warm("life's colours", patterns.color_ages, lambda: (_AGES, _PIXELS)),
        Warm("tile blocks", regions.apply_blocks, lambda: (_PIXELS, _PIXELS, _BYTES, 0)),
        Warm("schedule", schedule.start_schedule, lambda: (_example()[0], 0)),
        Warm("end of schedule", schedule.stop_schedule, lambda: (_example()[0], 0)),
        Warm("arming", schedule.arm, lambda: (_example()[0], 0)),
        Warm("offered count", schedule.count_offered, lambda: (_example()[0], 0)),
        Warm("backlog", schedule.count_backlog, lambda: (_example()[0], 0)),
        Warm("scattering", schedule.scatter_stride, lambda: (1,)),
        Warm("a device's schedule", schedule.begin_schedule, lambda: (_example()[0], 0, 0, 1)),
        Warm("what is owed", schedule.count_all_owed, lambda: (_example()[0],)),
        Warm("a device's end", schedule.end_schedule, lambda: (_example()[0], 0, 0)),
        Warm("change of schedule", schedule.change_schedule, lambda: (_example()[0], 0)),
        Warm("regions", regions.learn, lambda: (_example()[0], 0, _BYTES, 0, 0, _BYTES)),
        Warm("viewers", viewer.receive_message, lambda: (_example()[0], 0, _BYTES, 0, 0, 0)),
        Warm("seen probes", probes.end_probe, lambda: (_example()[0], 0, 0, 0)),
        Warm("dropped probes", probes.drop_probe, lambda: (_example()[0], 0)),
        Warm("answered probes", probes.answer_probes, lambda: (_example()[0], 0, 0, 0)),
        Warm("unseen probes", probes.forget_answered, lambda: (_example()[0],)),
        Warm("first probe", probes.take_first, lambda: (_example()[0], 0)),
        Warm(
            "blocks",
            memory.fill_block,
            lambda: (_example()[0], np.zeros(1, FILL), 0, np.zeros(3, np.uint32), np.zeros(1, SEGMENT), 0),
        ),
        Warm("await block", await_state, lambda: (np.zeros(1, BLOCK), 0, 0, 0)),
        Warm("release", sockets.release, lambda: (_example()[0], 0)),
        Warm("carry", sockets.take_carry, lambda: (*_example(), 0)),
        Warm("slow path's bytes", sockets.send_bytes, lambda: (*_example(), 0, _BYTES)),
        Warm("stalls", sockets.update_interest, lambda: (*_example(), 0)),
        Warm("subscription", messages.subscribe, lambda: (*_example(), 0, 0, False)),
        Warm("views", messages.change_views, lambda: (*_example(), *(np.zeros(1, np.bool_),) * 2, False)),
        Warm("drain", messages.send_last_pings, lambda: (*_example(), np.zeros(1, np.bool_))),
        # It calls nearly all others, and takes longest.
        Warm("sockets", sockets.turn, lambda: (*_example(), 0)),
    ]
