"""A server whose models can be replaced while it answers: its folder of models, model control, updates."""
