"""`maskline-train import --check`: the source's answers to some pictures beside ours."""
