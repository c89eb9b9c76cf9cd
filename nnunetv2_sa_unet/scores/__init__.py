"""The metrics of the WMH challenge, lesion counts and their statistics."""
