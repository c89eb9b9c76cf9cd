"""Time and memory of the networks beside nnU-Net's own."""
