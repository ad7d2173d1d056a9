"""Options of the command line: numbers, options of `serve`, and which options conflict.

Numbers are parsed here, since the parser's own errors do not show the value. Only the presence of options is compared
here; contradictions between values are found when the settings are validated.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from workbench.errors import UserError


class Command(TyperCommand):
    """A command that rejects conflicting options before it does anything."""

    def invoke(self, ctx: Any) -> Any:
        """Run it. Raises UserError."""
        # Only what was typed: defaults and environment variables conflict with nothing.
        given = {
            param.opts[0] if param.param_type_name == "option" else str(param.metavar)
            for param in self.params
            if getattr(ctx.get_parameter_source(param.name), "name", "") == "COMMANDLINE"
        }
        require_compatible(str(self.name), given)
        return super().invoke(ctx)


def parse_number(value: str | float) -> float:
    """A number. Raises typer.BadParameter."""
    try:
        return float(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not a number") from None


def parse_whole(value: str | int) -> int:
    """An integer. Raises typer.BadParameter."""
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not a whole number") from None


def number(unit: str, help_text: str, *names: str) -> Any:
    """An option with a number. `names`: its name, if it differs from the parameter's."""
    return typer.Option(*names, parser=parse_number, metavar=unit, help=help_text)


def text(metavar: str, help_text: str, **settings: Any) -> Any:
    """An option with a text or a path."""
    return typer.Option(metavar=metavar, help=help_text, **settings)


def whole(unit: str, help_text: str) -> Any:
    """An option with an integer."""
    return typer.Option(parser=parse_whole, metavar=unit, help=help_text)


Origins = Annotated[list[str] | None, text("URL", "Allow browser clients from this origin. Repeatable.")]
CertFile = Annotated[str, text("FILE", "Use TLS with this certificate (PEM).", show_default=False)]
KeyFile = Annotated[str, text("FILE", "Key of the certificate.", show_default=False)]
AddressConnections = Annotated[
    int, whole("N", "Most connections from one address; 0: no limit. Does not apply to loopback.")
]
AddressHandshakes = Annotated[int, whole("N", "Most new connections per second from one address; 0: no limit.")]
JournalSync = Annotated[
    str,
    text("normal|full", "normal survives a crash of the server; full survives a power loss, too."),
]


class Conflict(NamedTuple):
    """`option` would make each of `others` meaningless."""

    option: str
    others: tuple[str, ...]
    reason: str


_LEFT = ("--screenshot", "--summary")
CONFLICTS: Mapping[str, tuple[Conflict, ...]] = {
    "run": (
        Conflict(
            "--gallery",
            ("SCENARIO", "--tour", "--from-recording", "--headless", "--seconds", "--record", *_LEFT),
            "a gallery runs its own scenarios and writes only pictures",
        ),
        Conflict("--tour", ("SCENARIO", "--from-recording"), "a tour runs its own scenarios"),
        Conflict("--from-recording", ("SCENARIO", "--seconds", "--seed"), "the recording defines the run"),
    ),
    "bench": (Conflict("--list", ("CASE", "--quick", "--peers", "--trials", "--out"), "a list runs nothing"),),
    "replay": (Conflict("--screenshot", ("--video",), "each replaces the window"),),
}


def require_compatible(command: str, given: Collection[str]) -> None:
    """Raise UserError if options and arguments `given` to `command` conflict."""
    for conflict in CONFLICTS.get(command, ()):
        # The first conflict is enough: one line, one remedy.
        for other in conflict.others:
            if conflict.option in given and other in given:
                raise UserError(f"{conflict.option} and {other} conflict: {conflict.reason}; leave one of them out")
