"""Entry point of the command `maskline-serve`; the commands themselves are in commands.py."""

from __future__ import annotations

import sys

from maskline_serve.errors import ServeError


def main() -> None:
    """Run the command line: a failure we know is one line on stderr and exit status 1."""
    try:
        from maskline_serve.commands import app  # needs the extra `serve`, which a bare install lacks
    except ModuleNotFoundError as error:
        sys.stderr.write(f"maskline-serve: no Python package {error.name}; `pip install 'maskline[serve]'`\n")
        sys.exit(1)
    try:
        app()
    except OSError as error:  # no permission, no space left, no such terminal any more
        said = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        sys.stderr.write(f"maskline-serve: {said}\n")
        sys.exit(1)
    except ServeError as error:
        sys.stderr.write(f"maskline-serve: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
