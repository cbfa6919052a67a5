"""Files of weights of other frameworks, read without running anything in them."""
