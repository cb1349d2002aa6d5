"""How good the answers are: accuracy, worse images, images of other things, and a verdict in words."""
