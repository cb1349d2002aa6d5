"""Training within a time budget: which recipe, and how many epochs of it."""
