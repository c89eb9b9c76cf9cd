"""The first stage of a run: the two images of a pair are read, registered and written half-way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, complete_or_absent, is_intact, path_from, sha256
from nnunetv2_sa_unet.longitudinal.folder import image_name
from nnunetv2_sa_unet.longitudinal.halfway import covered, halfway
from nnunetv2_sa_unet.longitudinal.pairs import VisitPair
from nnunetv2_sa_unet.longitudinal.record import ROLES, Motion, Pair, Visit
from nnunetv2_sa_unet.longitudinal.registration import Registration, Work, agreement, register, working
from nnunetv2_sa_unet.longitudinal.rigid import Matrix, degrees, inverse
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject, find_subject
from nnunetv2_sa_unet.segmentation.preparation import hashed, read_channels
from nnunetv2_sa_unet.segmentation.record import Input
from nnunetv2_sa_unet.segmentation.writing import FolderError, write_image, writing
from nnunetv2_sa_unet.text import one_line

__all__ = ["register_pair"]

#: What a registration of one head does not exceed, and what two images of it have in common. Where the limits lie
#: between pairs of one head and of two stands in docs/benchmarks/longitudinal.md.
MOST_DEGREES, MOST_DISAGREEMENT_MM = 45.0, 2.0
LEAST_CORRELATION, LEAST_OVERLAP = 0.73, 0.7
#: Share of a visit's brain that the other image may leave out without a warning, and that leaves too little. Heads that
#: lie a few mm and degrees otherwise in a box of slices lose some 6 % at its ends.
_UNSEEN, _TOO_LITTLE = 0.1, 0.5
#: How many times coarser one visit may be along an axis without a word.
_COARSER = 1.5


def register_pair(folder: Path, pair: VisitPair, earlier: Pair | None) -> tuple[Pair, bool]:
    """Register a pair and write its images half-way, or take what an earlier run left.

    Whatever goes wrong with the pair becomes a failed row.

    Args:
        folder: of the run.
        pair: to register.
        earlier: its row in an earlier run.

    Returns:
        The row, without figures, and whether it is new.

    Raises:
        FolderError: nothing can be written to the folder.
    """
    visits = [
        Visit(visit=name, path=path_from(folder, path)) for name, path in zip(pair.visits, pair.images, strict=True)
    ]
    try:
        subjects = [find_subject(path, 1) for path in pair.images]
        inputs = [hashed(each.inputs[0]) for each in subjects]
        visits = [_seen(folder, visit, one) for visit, one in zip(visits, inputs, strict=True)]
        if earlier is not None and earlier.motion is not None and _is_as_good(folder, earlier, visits):
            kept = [
                visit.model_copy(update={"image": there.image, "image_sha256": there.image_sha256})
                for visit, there in zip(visits, earlier.visits, strict=True)
            ]
            return _row(pair, kept, earlier.motion), False
        if visits[0].sha256 == visits[1].sha256:
            raise InputError(f"{pair.images[1]}: is the same file as {pair.images[0]}; expected another visit")
        return _registered(folder, pair, visits, subjects), True
    except FolderError:
        raise
    except InputError as error:
        return _failed(pair, visits, one_line(error)), True
    except (RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
        return _failed(pair, visits, f"cannot be registered: {one_line(error) or type(error).__name__}"), True


def _row(pair: VisitPair, visits: list[Visit], motion: Motion) -> Pair:
    remarks = [*([pair.remark] if pair.remark else []), *motion.remarks]
    status: Literal["ok", "warning"] = "warning" if remarks else "ok"
    return Pair(
        pair=pair.name,
        subject=pair.subject,
        visits=visits,
        order=pair.order,
        status=status,
        message="; ".join(remarks),
        motion=motion,
    )


def _failed(pair: VisitPair, visits: Sequence[Visit], message: str) -> Pair:
    for path in pair.images:
        message = message.replace(f"{path.parent}{os.sep}", "")
    return Pair(
        pair=pair.name,
        subject=pair.subject,
        visits=list(visits),
        order=pair.order,
        status="failed",
        message=message,
    )


def _seen(folder: Path, visit: Visit, one: Input) -> Visit:
    """A visit with what its input consists of."""
    path = path_from(folder, one.path)
    return visit.model_copy(update={**one.model_dump(), "path": path})


def _is_as_good(folder: Path, earlier: Pair, visits: Sequence[Visit]) -> bool:
    """Whether an earlier run registered the same images, and what it wrote is there as it was written."""
    if [each.sha256 for each in earlier.visits] != [each.sha256 for each in visits]:
        return False
    return all(is_intact(below(folder, str(visit.image)), visit.image_sha256) for visit in earlier.visits)


def _registered(folder: Path, pair: VisitPair, visits: Sequence[Visit], subjects: Sequence[FoundSubject]) -> Pair:
    images: list[SimpleITK.Image] = []
    remarks: list[str] = []
    for visit, each in zip(visits, subjects, strict=True):
        (image,), said = read_channels(each.inputs)
        images.append(image)
        remarks += (f"{visit.visit}: {remark}" for remark in (each.remark, *said) if remark)
    first, second = (working(image) for image in images)
    found = register(first, second)
    motion = _motion(found, (first, second), images)
    problem = _implausible(motion)
    if problem is not None:
        return _failed(pair, visits, f"the two images do not fit each other: {problem}; is it one person's head?")
    half = halfway(images[0], images[1], found.matrix)
    remarks += _oddities(motion, images)
    written = []
    for visit, role, image in zip(visits, ROLES, half, strict=True):
        name = image_name(pair.name, role)
        path = below(folder, name)
        with writing(path, 0), complete_or_absent(path) as temporary:
            write_image(image, temporary, compressed=True)
        written.append(visit.model_copy(update={"image": name, "image_sha256": sha256([path])}))
    voxel_mm = [round(edge, 6) for edge in half[0].GetSpacing()]
    return _row(pair, written, motion.model_copy(update={"voxel_mm": voxel_mm, "remarks": remarks}))


def _motion(found: Registration, works: tuple[Work, Work], images: Sequence[SimpleITK.Image]) -> Motion:
    correlation, overlap = agreement(*works, found.matrix)
    moved = found.matrix[:3, :3] @ np.array(found.centre) + found.matrix[:3, 3]
    return Motion(
        matrix=found.matrix.tolist(),
        degrees=round(degrees(found.matrix), 4),
        shift_mm=round(float(np.linalg.norm(moved - found.centre)), 4),
        disagreement_mm=round(found.disagreement_mm, 4),
        correlation=round(correlation, 4),
        overlap=round(overlap, 4),
        unseen=[
            _unseen(work, way, other)
            for work, way, other in zip(works, (found.matrix, inverse(found.matrix)), images[::-1], strict=True)
        ],
        voxel_mm=[],
        remarks=[],
    )


def _unseen(work: Work, way: Matrix, other: SimpleITK.Image) -> float:
    """The share of a brain that another image leaves out, where a motion leads to that one."""
    inside = SimpleITK.GetArrayViewFromImage(work.inside) > 0
    return round(1 - float(covered(other, way, work.inside)[inside].mean()), 4)


def _implausible(motion: Motion) -> str | None:
    """Say why a registration is not one of a single head."""
    if motion.degrees > MOST_DEGREES:
        return f"turned by {motion.degrees:.0f}°, expected at most {MOST_DEGREES:.0f}°"
    if motion.disagreement_mm > MOST_DISAGREEMENT_MM:
        return (
            f"registered one way and the other they differ by {motion.disagreement_mm:.1f} mm, expected at most "
            f"{MOST_DISAGREEMENT_MM:g} mm"
        )
    if motion.overlap < LEAST_OVERLAP:
        return f"the brains overlap by {motion.overlap:.2f} (Dice), expected {LEAST_OVERLAP:g} or more"
    if motion.correlation < LEAST_CORRELATION:
        return f"the brains correlate by {motion.correlation:.2f}, expected {LEAST_CORRELATION:g} or more"
    return None


def _oddities(motion: Motion, images: Sequence[SimpleITK.Image]) -> list[str]:
    """What to bear in mind where the two visits are compared.

    Raises:
        InputError: too little can be.
    """
    found = []
    edges = [SimpleITK.DICOMOrient(image, "LPS").GetSpacing() for image in images]
    if np.max(np.maximum(np.divide(*edges), np.divide(*edges[::-1]))) > _COARSER:
        sizes = " and ".join("×".join(f"{edge:.3g}" for edge in each) for each in edges)
        found.append(f"voxels of {sizes} mm: compared at the coarser ones along each axis")
    for unseen, which in zip(motion.unseen, ROLES, strict=True):
        if unseen > _TOO_LITTLE:
            raise InputError(f"{unseen:.0%} of the brain in the {which} image are not in the other: not compared")
        if unseen > _UNSEEN:
            found.append(f"{unseen:.0%} of the brain in the {which} image are not in the other, and not compared")
    return found
