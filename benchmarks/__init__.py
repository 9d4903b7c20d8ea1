"""`pml-hierarchical`: hierarchical proxy losses beside nine baselines, trained with PML."""
