"""How good the answers are: accuracy, corruptions, out-of-distribution images, and a verdict in words."""
