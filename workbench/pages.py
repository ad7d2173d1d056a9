"""The shared pages of one session, made by it and handed to its processes by descriptor.

Invariant: each page has one writer: telemetry and canvas the server, fleet the fleet, history this process, picture
the panels.
"""

from dataclasses import dataclass

from server.config import ServerConfig
from server.page import (
    Page,
    canvas_sections,
    fleet_sections,
    history_sections,
    picture_sections,
    telemetry_sections,
)


@dataclass(frozen=True, slots=True)
class SessionPages:
    """All pages; memory that nobody writes to costs nothing."""

    telemetry: Page
    canvas: Page
    fleet: Page
    history: Page
    picture: Page

    @classmethod
    def create(cls, server: ServerConfig) -> "SessionPages":
        """Pages of zeros, sized for this server."""
        return cls(
            telemetry=Page.create(telemetry_sections(server.loops)),
            canvas=Page.create(canvas_sections(server.width, server.height)),
            fleet=Page.create(fleet_sections()),
            history=Page.create(history_sections()),
            picture=Page.create(picture_sections()),
        )

    def close(self) -> None:
        """Give all descriptors back."""
        for page in (self.telemetry, self.canvas, self.fleet, self.history, self.picture):
            page.close()
