"""The run folder: every file of a run."""
