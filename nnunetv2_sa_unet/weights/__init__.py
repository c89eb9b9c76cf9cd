"""Trained models that come with the package: "the box"."""
