"""The mailbox server's patrol: it looks at every connection ten times a second, and deals with what none does itself.

Deadlines that pass, drops to report, who stalls, who stays over the limit; nothing here reads or places. Invariant: a
connection that is ended here was given its reason, or takes no bytes and so would not read one.
"""

import asyncio
from collections.abc import Set

from server.kernels.layout import Stage
from server.mailbox.client import OUTBOX_MAX, PLACE_FRAME_BYTES, READ_BYTES, Letter, MailboxClient
from server.mailbox.tally import Tally
from server.mailbox.view import ClientRows
from server.protocol.events import Closed, Refused
from server.protocol.websocket import CloseCode, Opcode, encode_frame
from server.system import clock

PATROL_S = 0.1


class Sweeper:
    """One server's patrol. `clients` is the server's set, which only the server changes."""

    def __init__(self, clients: Set[MailboxClient], rows: ClientRows, tally: Tally) -> None:
        self._clients, self._rows = clients, rows
        self._tally, self._counts = tally, tally.counts

    async def walk(self) -> None:
        """Look at every connection, again and again."""
        while True:
            await asyncio.sleep(PATROL_S)
            now_ns = clock.now_ns()
            self._tally.queued(Stage.ACCEPT, sum(not client.route for client in self._clients))
            for client in self._clients:
                self._keep_deadline(client, now_ns)
                if client.opened_ns:
                    self._judge(client, now_ns)
            self._note_limits()
            self._counts["outbox_bytes"] = sum(client.owed_bytes for client in self._clients)
            self._rows.write()

    def _note_limits(self) -> None:
        """How much there can be to wait in front of the stages that have a queue a connection."""
        count = max(1, len(self._clients))
        self._tally.limit(Stage.READ, count)
        self._tally.limit(Stage.ADMIT, count * (READ_BYTES // PLACE_FRAME_BYTES))
        self._tally.limit(Stage.FANOUT, count * OUTBOX_MAX)

    def _keep_deadline(self, client: MailboxClient, now_ns: int) -> None:
        deadline_ns = client.connection.next_deadline_ns()
        if deadline_ns is None or now_ns < deadline_ns:
            return
        for event in client.connection.on_timer(now_ns):
            if isinstance(event, Refused):
                self._counts["protocol_error_count"] += 1
                client.flush()
            elif isinstance(event, Closed):
                client.reset()  # What it is still owed, nobody has taken in time.

    def _judge(self, client: MailboxClient, now_ns: int) -> None:
        report = client.report(now_ns)
        if report is not None:
            client.outbox.put_nowait(Letter(encode_frame(Opcode.BINARY, report.encode())))
        if client.has_stalled(now_ns):
            self._counts["evicted_count"] += 1
            client.reset()  # It would not read why.
        elif client.connection.is_open and client.is_over_limit(now_ns):
            self._counts["evicted_count"] += 1
            client.connection.close(CloseCode.POLICY_VIOLATION, "over the rate limit for too long")
            client.flush()
