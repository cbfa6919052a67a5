"""The paper's tables as lists of rows: one file a table, each with `TABLE`. `maskline-train ablate` runs them."""
