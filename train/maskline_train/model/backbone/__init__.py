"""The body with its norms, and the pyramid on top."""
