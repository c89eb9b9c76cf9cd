"""Overrides of plans that ship with the package, one JSON file each."""
