"""`maskline-train data check`, and what it and `maskline-train new` find to warn of."""
