"""Our ops as operators of PyTorch, which its compiler does not look into: no step in them depends on data."""
