"""Masks and files of white matter hyperintensities; knows no network."""
