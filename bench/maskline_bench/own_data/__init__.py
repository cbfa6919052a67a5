"""Own data to a served answer by the commands alone, timed, and the recipe of `maskline-train new` beside others."""
