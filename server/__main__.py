"""A server as a process of a session: it takes commands on standard input, and reports on standard output."""

from functools import partial

from server.accept.listener import CannotListen
from server.ipc import control
from server.ipc.control import (
    Adjust,
    CloseClients,
    Command,
    Failed,
    Follow,
    Listening,
    News,
    PauseBroker,
    Progress,
    StartServer,
    Stop,
)
from server.ipc.page import Page, canvas_sections, connection_sections, link_sections, telemetry_sections
from server.journal.fault import JournalError
from server.mailbox.mailbox import Mailbox
from server.server import Server, open_server
from server.system import standard_streams


def main() -> int:
    """Serve until a command to stop, or until the parent is gone."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    start = control.read_start(StartServer)
    config = start.config
    is_linked = start.link_fd >= 0
    telemetry = Page.attach(start.telemetry_fd, telemetry_sections(config.loop_rows + is_linked))
    canvas = Page.attach(start.canvas_fd, canvas_sections(config.width, config.height))
    link = Page.attach(start.link_fd, link_sections(config.width, config.height)) if is_linked else None
    connections = None
    if start.connections_fd >= 0:
        sections = connection_sections(config.loop_rows + is_linked, config.connections_max)
        connections = Page.attach(start.connections_fd, sections)
    try:
        server = open_server(config, telemetry, canvas, link, connections)
        if isinstance(server, Server):
            server.on_news = lambda text: control.say(News(text))
            server.on_broker = control.say
        control.follow_commands(partial(_obey, server))
        server.prepare(lambda done, total, name: control.say(Progress(f"compiling {name}".strip(), done, total)))
        host, port = server.listen()
        control.say(Listening(host, port, server.own_broker_url if isinstance(server, Server) else ""))
        server.run()
    except (CannotListen, JournalError) as fault:
        control.say(Failed(str(fault)))
        return 1
    return 0


def _obey(server: Server | Mailbox, command: Command) -> None:
    if isinstance(command, Stop):
        server.stop()
    elif isinstance(command, Adjust):
        server.adjust(command.config)
    elif isinstance(command, CloseClients):
        server.close_clients(command.loop)
    elif isinstance(command, PauseBroker) and isinstance(server, Server):
        server.pause_broker(command.seconds)
    elif isinstance(command, Follow) and isinstance(server, Server):
        server.follow(command.number)  # A mailbox server has no batches to follow.


if __name__ == "__main__":
    raise SystemExit(main())
