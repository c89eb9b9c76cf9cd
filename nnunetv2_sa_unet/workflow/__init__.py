"""The ablation study as a Snakemake workflow: the ``Snakefile`` and the work of its jobs."""
