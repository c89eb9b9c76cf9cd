"""Change between two visits of a subject: registration half-way, lesions matched, what is noise and what is not."""
