"""The MQTT topics of one canvas.

    canvas/NAME/device/ID/place      device to server    one or more whole PLACE messages, concatenated
    canvas/NAME/info                 server, retained    the HELLO message
    canvas/NAME/delta                server              DELTA of the whole canvas
    canvas/NAME/device/ID/throttled  server to device    THROTTLED

`device_of(place(ID)) == ID` for each valid ID.
"""

from server.wire import MESSAGE_BYTES_MAX, PLACE, ClientOp

# Longest ID of a device in UTF-8: enough for a UUID or a serial number, too little to fill memory with.
ID_BYTES_MAX = 64
# Longest payload that is accepted; the longest WebSocket message is as long.
PAYLOAD_BYTES_MAX = MESSAGE_BYTES_MAX


class Topics:
    """The topics of the canvas `name`."""

    def __init__(self, name: str) -> None:
        self._devices = f"canvas/{name}/device/"
        self.places = f"{self._devices}+/place"  # What the server subscribes to.
        self.info = f"canvas/{name}/info"
        self.delta = f"canvas/{name}/delta"

    def place(self, device: str) -> str:
        """The topic that a device publishes placements to."""
        return f"{self._devices}{device}/place"

    def throttled(self, device: str) -> str:
        """The topic of reports to a device about dropped placements."""
        return f"{self._devices}{device}/throttled"

    def device_of(self, topic: str) -> str | None:
        """The device of a `place` topic; "" for an invalid ID, None for any other topic."""
        device = topic.removeprefix(self._devices).removesuffix("/place")
        if "/" in device or topic != self.place(device):
            return None
        return device if len(device.encode("utf-8", "surrogatepass")) <= ID_BYTES_MAX else ""


def count_places(payload: bytes) -> int:
    """The number of placements in a payload; 0 unless it consists of one or more whole PLACE messages."""
    # One slice and one count for all messages: this runs for each publication.
    count, rest = divmod(len(payload), PLACE.size)
    is_whole = rest == 0 and len(payload) <= PAYLOAD_BYTES_MAX
    return count if is_whole and payload[:: PLACE.size].count(ClientOp.PLACE) == count else 0
