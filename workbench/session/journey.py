"""Joins the fleet's record of a probed batch with the server's record of the read that received it.

The two records share only the connection's number and the clock. Pure: it reads rows and pages.
All times of one `Journey` belong to one batch, or are None.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from server.ipc.page import Page, newest_rows
from workbench.telemetry.view import Journey

_NEVER_NS = 2**63 - 1
_SERVER_TIMES = ("decoded_ns", "admitted_ns", "applied_ns", "journaled_ns", "encoded_ns", "fanned_out_ns")


def join_journeys(fleet_rows: NDArray[Any], server_rows: NDArray[Any], width: int) -> list[Journey]:
    """One journey per fleet row, in the order of sending.

    fleet_rows: (n,) FLEET_JOURNEY; server_rows: (m,) JOURNEY, in the order of reading; width: of the canvas, in pixels.
    A batch belongs to the first read of its connection after it was sent, unless a later batch was sent before that
    read. A read applied in a later tick than the one the device saw is of another batch: the journey then has only
    the fleet's times, as when the server recorded no such read.
    """
    journeys = []
    for index, row in enumerate(fleet_rows):
        later = fleet_rows[index + 1 :]
        later = later[later["number"] == row["number"]]
        # A read after the next batch was sent may hold that one's placements.
        until_ns = int(later["sent_ns"][0]) if len(later) else _NEVER_NS
        journeys.append(_journey(row, _read_of(row, server_rows, until_ns), width))
    return journeys


def _read_of(row: Any, server_rows: NDArray[Any], until_ns: int) -> Any | None:
    """The server's row for the batch the fleet sent, or None."""
    read_ns = server_rows["read_ns"]
    is_its = (server_rows["number"] == row["number"]) & (read_ns >= row["sent_ns"]) & (read_ns < until_ns)
    found = server_rows[is_its][:1]
    if not len(found):
        return None
    tick = int(found[0]["tick"])
    # The device saw the placement in its tick: a read applied later cannot be the one.
    return found[0] if 0 < tick <= row["tick"] else None


def _journey(row: Any, read: Any | None, width: int) -> Journey:
    y, x = divmod(int(row["pixel"]), width)
    times: dict[str, Any] = {
        "intended_ns": int(row["intended_ns"]),
        "sent_ns": int(row["sent_ns"]),
        "seen_ns": int(row["seen_ns"]),
    }
    if read is not None:
        times["read_ns"] = int(read["read_ns"])
        # 0 in the server's row means unknown. Its `sent_ns` is when the broadcast was sent, the fleet's the placement.
        times |= {name: int(read[name.replace("fanned_out", "sent")]) or None for name in _SERVER_TIMES}
    return Journey(number=int(row["number"]), x=x, y=y, **times)


def journeys_of(connections_page: Page, fleet_page: Page, number: int, width: int) -> Sequence[Journey]:
    """The newest journeys of a connection, oldest first. The pages have `connection_sections` and `fleet_sections`."""
    read = newest_rows(connections_page["journeys"], connections_page["journey_head"])
    seen = newest_rows(fleet_page["journeys"], fleet_page["journey_head"])
    return join_journeys(seen[seen["number"] == number], read[read["number"] == number], width)
