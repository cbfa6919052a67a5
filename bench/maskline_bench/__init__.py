"""Benchmarks against the peers, ours and theirs in turn; not part of the wheel, run from a checkout by make."""
