"""A real tritonserver: found, started, watched, stopped, asked whether it answers."""
