"""TensorRT engines of an artifact: built, described in `engines.json`, run."""
