"""A model file becomes answers, with LiteRT and NumPy alone."""
