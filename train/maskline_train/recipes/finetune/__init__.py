"""Your own data, from a trained start: one recipe for a CPU, one for a GPU. `maskline-train new` fits them to a set."""
