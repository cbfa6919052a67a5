"""The choices of a recipe, each from what was seen of a set and of the machine."""
