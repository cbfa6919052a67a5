"""What holds for every test."""

import signal

# A shell's background job ignores SIGINT, and so would every process that a test starts: tests of Ctrl-C need it.
signal.signal(signal.SIGINT, signal.default_int_handler)
