"""The packages that only some formats need, asked for before any work is done.

It imports none of them. Invariant: one that is missing is told with the command that installs it.
"""

from importlib.util import find_spec

from workbench.errors import UserError


def require_package(name: str, format_name: str) -> None:
    """Raise UserError when the package `name`, as it is imported, is not installed."""
    if find_spec(name) is None:
        distribution = name.replace("_", "-")
        raise UserError(
            f"writing {format_name} needs the package {distribution}, which is not installed: pip install "
            f"'{distribution}', or all formats with pip install -e '.[export]'"
        )
