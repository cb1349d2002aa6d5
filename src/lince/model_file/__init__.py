"""The model file: its format, its manifest, its golden images, and the checks that every reader makes."""
