"""Options of one command that cannot go together, as a table: beside one, the other would say nothing.

It reads no command line and looks at no value; what only values decide is refused where the settings are typed.
Invariant: a pair that is named here is refused before anything is started, with both names and the reason.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from workbench.errors import UserError


class Conflict(NamedTuple):
    """`option` leaves nothing for any of `others` to do."""

    option: str
    others: tuple[str, ...]
    reason: str


_LEFT = ("--screenshot", "--summary")
CONFLICTS: Mapping[str, tuple[Conflict, ...]] = {
    "run": (
        Conflict(
            "--gallery",
            ("SCENARIO", "--tour", "--from-recording", "--headless", "--seconds", "--record", *_LEFT),
            "a gallery runs scenarios of its own and leaves pictures only",
        ),
        Conflict("--tour", ("SCENARIO", "--from-recording"), "a tour runs scenarios of its own"),
        Conflict("--from-recording", ("SCENARIO", "--seconds", "--seed"), "the recording says what is run"),
    ),
    "bench": (Conflict("--list", ("CASE", "--quick", "--peers", "--trials", "--out"), "a list runs nothing"),),
    "replay": (Conflict("--screenshot", ("--video",), "either is made instead of the window"),),
}


def require_compatible(command: str, given: Collection[str]) -> None:
    """Raise UserError when options and arguments that were `given` to `command` cannot go together."""
    for conflict in CONFLICTS.get(command, ()):
        for other in conflict.others:
            if conflict.option in given and other in given:
                raise UserError(
                    f"{conflict.option} and {other} do not go together: {conflict.reason}; leave one of them out"
                )
