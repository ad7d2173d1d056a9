"""The two ways in which a command refuses, told in one line each. A bug is neither: it keeps its traceback.

    CommandError   exit code
      UserError        2       asked wrongly: names the fault, the value and the remedy; nothing was started
      RunError         1       asked rightly, but it could not be done

Invariant: the message is one line for a person, without a full stop at its end.
"""


class CommandError(Exception):
    """What a command tells a person before it ends with `exit_code`."""

    exit_code = 1


class UserError(CommandError):
    """The command line or a file that it names asks for something that cannot be."""

    exit_code = 2


class RunError(CommandError):
    """What was asked for was begun, or could have been, and did not come to its end."""

    exit_code = 1


def line_of(error: Exception) -> str:
    """An error as one line; one of the system begins with its file, where it names one."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
