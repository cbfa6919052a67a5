"""A running server as a line of `verify`: the one room of the exporter that imports the client."""
