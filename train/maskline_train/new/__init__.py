"""`maskline-train new`: a recipe for a data set and a machine, with the reason of each choice beside it."""
