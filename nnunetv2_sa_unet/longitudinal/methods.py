"""``methods.md``: what a run did, in words for a paper (``segmentation.methods``, and how visits were compared)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nnunetv2_sa_unet.longitudinal import noise
from nnunetv2_sa_unet.longitudinal.folder import MASKS_FOLDER, RECORD_NAME
from nnunetv2_sa_unet.longitudinal.record import Changes
from nnunetv2_sa_unet.segmentation.methods import MATTES, References, methods, was, write_methods
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation
from nnunetv2_sa_unet.text import in_words

__all__ = ["write_longitudinal_methods"]

_REUTER = (
    "Reuter M, Fischl B. Avoiding asymmetry-induced bias in longitudinal image processing. NeuroImage 57, 19–21 "
    "(2011). https://doi.org/10.1016/j.neuroimage.2011.02.076"
)
_SIMPLEITK = (
    "Lowekamp BC, Chen DT, Ibáñez L, Blezek D. The design of SimpleITK. Frontiers in Neuroinformatics 7, 45 (2013). "
    "https://doi.org/10.3389/fninf.2013.00045"
)
_ORDERS = {
    "acq_time": "their sessions' times of acquisition",
    "label": "the labels of their sessions",
    "table": "a table of pairs",
}


def write_longitudinal_methods(folder: Path, changes: Changes, say: Callable[[str], None]) -> None:
    """Write ``methods.md`` of a run, unless a file of that name is somebody else's, or was changed since.

    Args:
        folder: of the run, which holds the record of its masks.
        changes: its record.
        say: prints a line.
    """
    masks = read_segmentation(folder / MASKS_FOLDER)
    paragraphs = [partial(_registration, changes), partial(_lesions, changes), partial(_outcome, changes)]
    write_methods(folder, methods(masks, paragraphs, of="image"), "longitudinal", RECORD_NAME, say)


def _registration(changes: Changes, cite: References) -> Iterator[str]:
    subjects = in_words(len({pair.subject for pair in changes.pairs}), "subject")
    yield f"Change was measured in {in_words(len(changes.pairs), 'pair')} of visits of {subjects}."
    orders = Counter(pair.order for pair in changes.pairs)
    if len(orders) == 1:
        yield f"Which visit was the earlier one was known from {_ORDERS[next(iter(orders))]}."
    else:
        listed = " and ".join(f"from {_ORDERS[order]} in {number}" for order, number in sorted(orders.items()))
        yield f"Which visit was the earlier one was known {listed} of the pairs."
    yield (
        "Before they were segmented, both images of a pair were registered rigidly in either direction by the mutual "
        f"information {cite(MATTES)} of their brains, with SimpleITK {changes.versions.get('SimpleITK', '')} "
        f"{cite(_SIMPLEITK)}, and each was resampled once, by cubic splines, into the space half-way between them "
        f"{cite(_REUTER)}, so that neither visit was favoured. There both lay on one grid, with the coarser voxel of "
        "the two along each axis, to which the finer image was smoothed; what only one of them showed was left out."
    )


def _lesions(changes: Changes, cite: References) -> Iterator[str]:
    lesion, total = 100 * noise.LESION_SHARE, 100 * noise.TOTAL_SHARE
    yield (
        "Lesions were matched as the connected components of the union of both masks. One at a single visit was "
        "called new or gone, and one at both visits enlarged or shrunk, where its volume changed by more than "
        f"{noise.LESION_MM3:g} mm³ and by more than {lesion:.0f} % of the larger of its two volumes; else it was "
        "called stable, or uncertain if it was there at a single visit. A change of the whole volume was told from "
        f"noise where it was more than {noise.TOTAL_ML:g} ml and more than {total:.0f} % of the larger volume. These "
        f"limits were not measured in the images of this study: they are those {noise.SOURCE} (nnunetv2-sa-unet)."
    )


def _outcome(changes: Changes, cite: References) -> Iterator[str]:
    numbers: Counter[str] = Counter(pair.status for pair in changes.pairs)
    for status, what in (("failed", "could not be compared and {} left out"), ("warning", "{} marked as unusual")):
        if numbers[status]:
            pairs = in_words(numbers[status], "pair")
            yield f"{pairs[0].upper()}{pairs[1:]} {what.format(was(numbers[status]))}."
