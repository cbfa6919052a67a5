"""Entry point of the command `maskline`: Ctrl-C is heeded while cli.py and what it needs are imported."""

from maskline_command.ending import ending
from maskline_command.signals import held


def main() -> None:
    """Run the command line."""
    with ending("maskline", extra="all"):
        with held():
            from maskline.cli import app
        app()


if __name__ == "__main__":
    main()
