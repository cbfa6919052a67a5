"""How a command ends, whatever happens around it: at most one line on stderr, and a status that says why.

docs/commands.md has the statuses. Only the standard library is imported here, so that Ctrl-C is heeded before a
command imports anything large.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from maskline_command.signals import Stopped, listening
from maskline_command.streams import Ended, guarded, open_closed


@contextlib.contextmanager
def ending(program: str, *, extra: str, bad_input: int = 1) -> Iterator[None]:
    """Turn what a command raises into its line and its status, by SystemExit.

    An expected failure is an OSError, a ValueError or an error with an `exit_code`; another one is a mistake of ours
    and keeps its traceback.

    Args:
        program: what the line begins with.
        extra: of the package, named where a Python package is missing.
        bad_input: status of an OSError or ValueError.
    """
    open_closed()
    with guarded(), listening():
        try:
            try:
                yield
            finally:
                sys.stdout.flush()  # here, and not after us, where nobody could tell that it failed
        except Ended as end:
            if isinstance(end, Stopped):
                _say(program, str(end))
            sys.exit(end.exit_code)
        except ModuleNotFoundError as error:
            _say(program, f"no Python package {error.name}; `pip install 'maskline[{extra}]'`")
            sys.exit(1)
        except Exception as error:
            expected = isinstance(error, OSError | ValueError)
            status = getattr(error, "exit_code", bad_input if expected else None)
            if status is None:
                raise
            _say(program, error_line(error))
            sys.exit(status)


def error_line(error: Exception) -> str:
    """What an error says, on one line; an OSError begins with its file."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        named = error.filename if error.filename2 is None else error.filename2  # of a copy, where it goes
        text = f"{named}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return " ".join(text.split())


def _say(program: str, text: str) -> None:
    sys.stderr.write(f"{program}: {text}\n")
