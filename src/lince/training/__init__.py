"""Training: from images and a recipe to a float network."""
