"""Models compared: the paper's tables, and the ablation study as a Snakemake workflow."""
