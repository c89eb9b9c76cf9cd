"""Data sets into nnU-Net's raw format, and nnU-Net's predictions into BIDS."""
