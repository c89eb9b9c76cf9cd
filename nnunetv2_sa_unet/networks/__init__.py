"""The networks: torch modules for 2d and 3d that know nothing of nnU-Net's plans or files."""
