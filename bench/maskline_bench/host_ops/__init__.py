"""The ops on the CPU, ours and the peers' in turn."""
