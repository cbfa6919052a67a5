"""Whether a running server still serves: canary images, the processes of its models, restarts, and who is told."""
