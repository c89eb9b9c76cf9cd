"""From a planned configuration to ours: dictionaries in, dictionaries out; no torch, no files."""
