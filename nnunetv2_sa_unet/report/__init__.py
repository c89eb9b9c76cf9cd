"""The report of a folder of segmented subjects: a page to check by eye."""

from nnunetv2_sa_unet.report.writing import refuse_page_of_others, write_report

__all__ = ["refuse_page_of_others", "write_report"]
