"""Entry point of the command `maskline-client`; the commands are in cli.py, which needs the extra `client`."""

from maskline_command.ending import ending
from maskline_command.signals import held


def main() -> None:
    """Run the command line."""
    with ending("maskline-client", extra="client", bad_input=2):
        with held():
            from maskline_client.cli import app
        app()


if __name__ == "__main__":
    main()
