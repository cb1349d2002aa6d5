"""Network families: from a recipe's `[model]` to a Keras model."""
