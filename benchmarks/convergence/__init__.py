"""Whether longer trainings help, on validation classes."""
