"""Boxes that only one side has although both are right: what the reference cannot decide within an error."""
