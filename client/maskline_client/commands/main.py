"""Entry point of the command `maskline-client`; the commands are in cli.py, which needs the extra `client`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without its packages, one line and exit status 1."""
    try:
        from maskline_client import cli
    except ModuleNotFoundError as error:
        sys.stderr.write(f"maskline-client: no Python package {error.name}; `pip install 'maskline[client]'`\n")
        sys.exit(1)
    cli.main()
