"""A time instead of a number of epochs: which recipe, and how much of it."""
