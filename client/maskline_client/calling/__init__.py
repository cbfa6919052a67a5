"""One call of a served model: its request and its answer, and which model gave it."""
