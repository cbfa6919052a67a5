"""What `maskline-client` does, one file a command; the options are in `cli.py`."""
