"""Memory that a server reserves on each GPU for the tensors that travel between the steps."""

UNIT_BYTES = 256 << 20


def pool_bytes(batch_bytes: int, batches: int) -> int:
    """Room for the tensors of so many batches at once, in whole units.

    Beyond it, and a server's own is 64 MiB, tensors silently go through memory of the host.
    """
    return -(-batch_bytes * batches // UNIT_BYTES) * UNIT_BYTES
