"""Answers from a model file, with LiteRT and NumPy alone."""
