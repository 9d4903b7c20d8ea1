"""Data sets with a hierarchy, each as a :class:`~benchmarks.datasets.base.RetrievalData`."""
