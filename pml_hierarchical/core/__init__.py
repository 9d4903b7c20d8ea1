"""What pytorch-metric-learning could merge as it is."""
