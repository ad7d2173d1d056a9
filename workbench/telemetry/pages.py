"""The shared pages of one session, created by it and passed to its processes by descriptor.

Each page has one writer: telemetry, canvas and connections the server, fleet the fleet, history this process, picture
the panels, hostile the hostile clients. Only the link has two: each part of it belongs at any time to one of them.
"""

from dataclasses import dataclass, fields
from typing import Any

from numpy.typing import NDArray

from devices.config import FleetConfig
from devices.hostile.counters import hostile_sections
from plots.history import history_sections
from plots.ipc import picture_sections
from server.config import ServerConfig
from server.ipc.page import (
    Page,
    canvas_sections,
    connection_sections,
    fleet_sections,
    link_sections,
    telemetry_sections,
)


@dataclass(frozen=True, slots=True)
class SessionPages:
    """All pages. Memory of them that is never written costs nothing."""

    telemetry: Page
    canvas: Page
    connections: Page
    fleet: Page
    history: Page
    picture: Page
    hostile: Page
    link: Page | None = None
    """Between fleet and server, if they share memory instead of sockets."""

    @classmethod
    def create(cls, server: ServerConfig, linked: FleetConfig | None = None) -> "SessionPages":
        """Pages of zeros for this server, and for a fleet that is linked with it in memory."""
        loops = server.loop_rows + (linked is not None)
        return cls(
            telemetry=Page.create(telemetry_sections(loops)),
            canvas=Page.create(canvas_sections(server.width, server.height)),
            connections=Page.create(connection_sections(loops, server.connections_max)),
            fleet=Page.create(fleet_sections()),
            history=Page.create(history_sections()),
            picture=Page.create(picture_sections()),
            hostile=Page.create(hostile_sections()),
            link=None if linked is None else _link_page(server, linked),
        )

    def close(self) -> None:
        """Close all descriptors."""
        for one in fields(self):
            page = getattr(self, one.name)
            if page is not None:
                page.close()


class OnPages:
    """The part of a session that is its pages, by the names that the window uses."""

    def __init__(self, pages: SessionPages) -> None:
        self.pages, self.picture = pages, pages.picture
        self.canvas_page, self.connections_page, self.fleet_page = pages.canvas, pages.connections, pages.fleet
        self._pixels: NDArray[Any] = pages.canvas["pixels"].view()
        self._pixels.setflags(write=False)

    def close(self) -> None:
        """Close the shared pages, after their last use."""
        self.pages.close()


def _link_page(server: ServerConfig, fleet: FleetConfig) -> Page:
    """A link on which all devices are connected from the start."""
    page = Page.create(link_sections(server.width, server.height))
    head = page["link"][0]
    head["device_count"] = fleet.connections
    head["viewer_count"] = fleet.reading_count
    head["tick_ms"] = server.tick_ms
    return page
