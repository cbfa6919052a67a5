"""The masks of an image's objects: as run lengths, and as the windows that they fill."""
