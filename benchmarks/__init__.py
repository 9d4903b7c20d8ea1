"""`python -m benchmarks`: hierarchical proxy losses beside nine baselines, trained with PML."""
