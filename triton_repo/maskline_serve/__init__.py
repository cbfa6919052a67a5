"""maskline_serve: assemble a Triton model repository of an artifact, serve it, examine it."""
