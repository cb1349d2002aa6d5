"""From a finished run to the model file, with its certificate and its card."""
