"""How nnU-Net finds the trainers of this package with nothing set."""
