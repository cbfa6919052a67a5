"""The detector without a server. The one place of the client that imports `maskline_serve`: its models are run here."""
