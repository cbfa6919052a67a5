"""Data sets that any machine can make: handwritten digits and stick figures on photographs."""
