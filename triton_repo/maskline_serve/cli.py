"""Entry point of the command `maskline-serve`; the commands themselves are in commands.py."""

from maskline_command.ending import ending
from maskline_command.signals import held


def main() -> None:
    """Run the command line."""
    with ending("maskline-serve", extra="serve"):
        with held():
            from maskline_serve.commands import app  # needs the extra `serve`, which a bare install lacks
        app()


if __name__ == "__main__":
    main()
