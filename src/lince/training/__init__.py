"""Training: from a dataset to a model file. Begin with `pipeline.py`, which shows the whole."""
