"""Metrics of embeddings that are stored in files, for the command ``evaluate``."""
