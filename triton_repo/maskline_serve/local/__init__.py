"""A repository's own models in this process, without a server: to try a model before it is served."""
