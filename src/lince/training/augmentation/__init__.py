"""What the network sees instead of the image itself."""
