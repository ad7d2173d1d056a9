"""What tests of mailbox share."""

import asyncio

from server.config import ServerConfig
from server.ipc.page import Page, canvas_sections, telemetry_sections
from server.kernels.layout import Stage
from server.mailbox import canvas as mailbox_canvas
from server.mailbox.canvas import MailboxCanvas
from server.mailbox.client import MailboxClient, limits_of
from server.mailbox.tally import Tally
from server.protocol.messages import decode_server_message
from support.feeding import open_server as open_connection

WIDTH, HEIGHT = 70, 45
WHOLE = (0, 0, 3, 2)


class Room:
    """A mailbox canvas without sockets."""

    def __init__(self, **settings):
        self.config = ServerConfig(width=WIDTH, height=HEIGHT, rate_per_s=1000, burst=1000, **settings)
        self.telemetry = Page.create(telemetry_sections(1))
        self.page = Page.create(canvas_sections(WIDTH, HEIGHT))
        self.tally = Tally(self.telemetry, {Stage.APPLY: mailbox_canvas.MAILBOX_MAX})
        self.clients = []
        self.canvas = MailboxCanvas(self.config, self.telemetry, self.page, self.tally, self.clients)

    def client(self):
        self.clients.append(MailboxClient(None, None, open_connection(), limits_of(self.config)))
        return self.clients[-1]

    async def apply_all(self):
        """Let the canvas task carry out every action that waits."""
        task = asyncio.create_task(self.canvas.run_actions())
        await self.canvas.in_turn(lambda: None)
        task.cancel()

    def deltas(self, client):
        """The deltas that wait for a client, taken out."""
        taken = []
        while not client.outbox.empty():
            frame = client.outbox.get_nowait().data
            taken.append(decode_server_message(frame[4 if frame[1] == 126 else 2 :]))
        return taken
