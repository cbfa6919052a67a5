"""From an artifact to a model repository: what is read, what is written, the configs."""
