"""Synthetic FLAIR volumes with lesions, for trying the software."""
