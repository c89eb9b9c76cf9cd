"""Everything that subclasses nnU-Net."""
