"""Train Mask R-CNN: model, data, training loop, evaluation, recipes. Imports none of our other packages."""
