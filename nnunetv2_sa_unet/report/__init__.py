"""The report of a folder of segmented subjects: a page to check by eye."""

from nnunetv2_sa_unet.report.writing import write_report

__all__ = ["write_report"]
