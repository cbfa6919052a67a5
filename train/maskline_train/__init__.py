"""Train Mask R-CNN: model, data, training loop, evaluation, recipes.

Of our packages it imports `maskline_coco` and `maskline_command` alone.
"""
