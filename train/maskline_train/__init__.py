"""Train Mask R-CNN: model, data, training loop, evaluation, recipes.

Of our packages it imports `maskline_coco`, `maskline_command`, `maskline_show` and `maskline_host` alone.
"""
