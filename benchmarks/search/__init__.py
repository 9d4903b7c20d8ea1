"""From a trained run to a model that searches: export, training on all classes, new classes."""
