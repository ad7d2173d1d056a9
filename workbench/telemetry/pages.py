"""The shared pages of one session, made by it and handed to its processes by descriptor.

Invariant: each page has one writer: telemetry, canvas and connections the server, fleet the fleet, history this
process, picture the panels; but for the link, whose every part is at any time either the fleet's or the server's.
"""

from dataclasses import dataclass
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
    """All pages; memory that nobody writes to costs nothing."""

    telemetry: Page
    canvas: Page
    connections: Page
    fleet: Page
    history: Page
    picture: Page
    hostile: Page
    """What became of those who misbehave, written by their process."""
    link: Page | None = None
    """Between fleet and server, where they share memory instead of sockets."""

    @classmethod
    def create(cls, server: ServerConfig, linked: FleetConfig | None = None) -> "SessionPages":
        """Pages of zeros, sized for this server; and for a fleet that is linked with it in memory."""
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
        """Give all descriptors back."""
        shared = (self.telemetry, self.canvas, self.connections, self.fleet, self.history, self.picture, self.hostile)
        for page in (*shared, self.link):
            if page is not None:
                page.close()


class OnPages:
    """A session as far as it is its pages, under the names by which the window asks for them."""

    def __init__(self, pages: SessionPages) -> None:
        self.pages = pages
        self._pixels: NDArray[Any] = pages.canvas["pixels"].view()
        self._pixels.setflags(write=False)

    def close(self) -> None:
        """Give the shared pages back, after the last look at them."""
        self.pages.close()

    @property
    def picture(self) -> Page:
        """The panels' picture."""
        return self.pages.picture

    @property
    def canvas_page(self) -> Page:
        """Pixels, who painted them and when, and what became of each tile."""
        return self.pages.canvas

    @property
    def connections_page(self) -> Page:
        """The server's connections as it works on them."""
        return self.pages.connections

    @property
    def fleet_page(self) -> Page:
        """What the fleet sees."""
        return self.pages.fleet


def _link_page(server: ServerConfig, fleet: FleetConfig) -> Page:
    """A link on which all devices are connected already."""
    page = Page.create(link_sections(server.width, server.height))
    head = page["link"][0]
    head["device_count"] = fleet.connections
    head["viewer_count"] = fleet.reading_count
    head["tick_ms"] = server.tick_ms
    return page
