"""The report of a run: what was trained, how well it works, where it fails, what has changed; one HTML file."""
