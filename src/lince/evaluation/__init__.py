"""The quality of the answers: accuracy, corruptions, out-of-distribution images, and a verdict in words."""
