"""The three engines of an exported model in one process, on a CPU or a GPU."""
