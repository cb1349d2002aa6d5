"""Augmentation: random changes of training images."""
