"""What the training loop in `fit.py` is made of: its state, parts trained alone, rates, log, signals."""
