"""Options of the command line: numbers, read here so that a wrong one is told with its value, and some of `serve`; and
the kind of command that all of ours are, which refuses options that cannot go together.

It knows no command. Invariant: what the parser itself would say of a value is never shown; its own words lack it.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from workbench.cli.conflict import require_compatible


class Command(TyperCommand):
    """A command that refuses options that cannot go together, before it does anything."""

    def invoke(self, ctx: Any) -> Any:
        """Do it. Raises UserError."""
        given = {
            param.opts[0] if param.param_type_name == "option" else str(param.metavar)
            for param in self.params
            if getattr(ctx.get_parameter_source(param.name), "name", "") == "COMMANDLINE"
        }
        require_compatible(str(self.name), given)
        return super().invoke(ctx)


def parse_number(value: str | float) -> float:
    """A number. Raises typer.BadParameter for what is none."""
    try:
        return float(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no number") from None


def parse_whole(value: str | int) -> int:
    """A whole number. Raises typer.BadParameter for what is none."""
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no whole number") from None


def number(unit: str, text: str, *names: str) -> Any:
    """An option that is a number of this unit; `names` where it is called otherwise than its parameter."""
    return typer.Option(*names, parser=parse_number, metavar=unit, help=text)


def whole(unit: str, text: str) -> Any:
    """An option that is a whole number, likewise."""
    return typer.Option(parser=parse_whole, metavar=unit, help=text)


Origins = Annotated[list[str] | None, typer.Option(metavar="URL", help="Let pages from there in. Repeatable.")]
CertFile = Annotated[
    str, typer.Option(metavar="FILE", show_default=False, help="Speak TLS only, with this certificate (PEM).")
]
KeyFile = Annotated[str, typer.Option(metavar="FILE", show_default=False, help="Its key.")]
AddressConnections = Annotated[int, whole("N", "Connections held from one address; 0: any number. Not for loopback.")]
AddressHandshakes = Annotated[int, whole("N", "Connections one address may open a second; 0: any number.")]
JournalSync = Annotated[
    str,
    typer.Option(metavar="normal|full", help="normal outlives a crash of the server, full also one of the machine."),
]
