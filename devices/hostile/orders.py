"""What the process of those who misbehave is told. Invariant: a message is frozen, and says all that is needed."""

import msgspec

from devices.hostile.config import HostileConfig


class StartHostile(msgspec.Struct, frozen=True, tag=True):
    """First line to the process. `page_fd`: a page of `hostile_sections`."""

    config: HostileConfig
    host: str
    port: int
    path: str
    seed: int
    page_fd: int
