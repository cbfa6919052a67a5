"""Recipes: one Python file a training run. `maskline-train recipes` lists them."""
