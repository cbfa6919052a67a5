"""A training step as a picture: which part of it runs when, on the host and on a GPU."""
