"""Time and memory beside PML's, measured in the same run."""
