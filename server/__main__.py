"""A server as a process of a session: told what to do on standard input, telling on standard output how it goes."""

from server import control
from server.control import Command, Failed, Listening, Progress, StartServer, Stop
from server.listener import CannotListen
from server.page import Page, canvas_sections, link_sections, telemetry_sections
from server.server import open_server


def main() -> int:
    """Serve until told to stop, or until the parent is gone."""
    control.leave_signals_to_parent()
    start = control.read_start(StartServer)
    config = start.config
    is_linked = start.link_fd >= 0
    telemetry = Page.attach(start.telemetry_fd, telemetry_sections(config.loops + is_linked))
    canvas = Page.attach(start.canvas_fd, canvas_sections(config.width, config.height))
    link = Page.attach(start.link_fd, link_sections(config.width, config.height)) if is_linked else None
    server = open_server(config, telemetry, canvas, link)

    def obey(command: Command) -> None:
        if isinstance(command, Stop):
            server.stop()

    control.follow_commands(obey)
    server.prepare(lambda done, total, name: control.say(Progress(f"compiling {name}".strip(), done, total)))
    try:
        host, port = server.listen()
    except CannotListen as fault:
        control.say(Failed(str(fault)))
        return 1
    control.say(Listening(host, port))
    server.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
