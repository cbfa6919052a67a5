"""Two served models on the same images: what both find, and where they differ."""
