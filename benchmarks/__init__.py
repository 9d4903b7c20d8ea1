"""`python -m benchmarks`: hierarchical proxy losses against nine baselines, on PML's trainers and testers."""
