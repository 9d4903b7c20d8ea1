"""Whether longer training helps, on validation classes."""
