"""The MQTT topics of one canvas, and whose a topic is.

    canvas/NAME/device/ID/place      device to server    one or more whole PLACE messages, concatenated
    canvas/NAME/info                 server, retained    the HELLO message
    canvas/NAME/delta                server              DELTA of the whole canvas
    canvas/NAME/device/ID/throttled  server to device    THROTTLED

It speaks to no broker. Invariant: `device_of(place(ID)) == ID` for each ID that is let in.
"""

from server.wire import PLACE, ClientOp

ID_BYTES_MAX = 64
"""Longest name of a device in UTF-8: enough for a UUID or a serial number, too little to fill memory with."""
PAYLOAD_BYTES_MAX = 64 * 1024
"""Longest payload that is looked at; the longest WebSocket message is as long."""


class Topics:
    """The topics of the canvas `name`."""

    def __init__(self, name: str) -> None:
        self._devices = f"canvas/{name}/device/"
        self.places = f"{self._devices}+/place"
        """What the server subscribes to."""
        self.info = f"canvas/{name}/info"
        self.delta = f"canvas/{name}/delta"

    def place(self, device: str) -> str:
        """Where a device places."""
        return f"{self._devices}{device}/place"

    def throttled(self, device: str) -> str:
        """Where a device is told what was dropped."""
        return f"{self._devices}{device}/throttled"

    def device_of(self, topic: str) -> str | None:
        """The device that a `place` topic names; "" for an ID that is not allowed, None for any other topic."""
        device = topic.removeprefix(self._devices).removesuffix("/place")
        if "/" in device or topic != self.place(device):
            return None
        return device if len(device.encode("utf-8", "surrogatepass")) <= ID_BYTES_MAX else ""


def count_places(payload: bytes) -> int:
    """How many placements a payload brings; 0 when it is not one or more whole PLACE messages, and nothing else."""
    count, rest = divmod(len(payload), PLACE.size)
    is_whole = rest == 0 and len(payload) <= PAYLOAD_BYTES_MAX
    return count if is_whole and payload[:: PLACE.size].count(ClientOp.PLACE) == count else 0
