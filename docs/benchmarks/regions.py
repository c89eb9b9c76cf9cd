"""Regions and intracranial volume of synthetic heads, whose truth is known, and measures of other images.

    python docs/benchmarks/regions.py [SEED ...]
    python docs/benchmarks/regions.py --images IMAGE [IMAGE ...]

A head is made whole, with 3 mm slices; thin slices are interpolated from it, thick ones averaged; of stripped ones
only the brain and its fluid are left; cut ones lack the lowest fifth. The truth is the atlas under the deformation that
made the head, on a grid of 1 mm. Prints a line a head and, at the end, the largest errors.

With ``--images`` a line for each image: what speaks for its registration, and its intracranial volume as it is, as
numbers in other units, and in 8 bit with a background that is not 0.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.demo import synthetic
from nnunetv2_sa_unet.demo.anatomy import load_anatomy
from nnunetv2_sa_unet.demo.head import deformed_head
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.regions.assignment import LABELS, REGIONS, SIDES, Surroundings, region_load, region_map
from nnunetv2_sa_unet.regions.distance import distance_mm
from nnunetv2_sa_unet.regions.location import locate
from nnunetv2_sa_unet.regions.parcellation import parcellate
from nnunetv2_sa_unet.regions.quality import Measures, measure, problems
from nnunetv2_sa_unet.regions.registration import register
from nnunetv2_sa_unet.regions.template import BACKGROUND, VENTRICLES, load_atlas

SLICES, CENTRE = 60, (7.0, -18.0, 0.0)
#: WMH in a head in ml.
LOAD = 15.0


def head(seed: int) -> tuple[synthetic.SyntheticCase, SimpleITK.Image, Surroundings]:
    """A head that is in the image as a whole, its atlas labels and what is around each voxel, both on 1 mm."""
    synthetic.SHAPE, synthetic._CENTRE = (SLICES, *synthetic.SHAPE[1:]), CENTRE
    case = synthetic.make_case(seed, LOAD)
    rng = np.random.default_rng(seed)
    tilt = rng.uniform(*synthetic._TILT)
    shape = (SLICES * 3, *synthetic.SHAPE[1:])
    position = deformed_head(load_anatomy(), shape, CENTRE, tilt, rng).position
    atlas = load_atlas()
    x, y, z = atlas.image.GetOrigin()
    place = np.rint(position - np.reshape([z, -y, -x], (3, 1, 1, 1))).astype(int)
    inside = np.all([(axis >= 0) & (axis < size) for axis, size in zip(place, atlas.tissue.shape, strict=True)], axis=0)
    index = tuple(np.clip(axis, 0, size - 1) for axis, size in zip(place, atlas.tissue.shape, strict=True))

    def there(values: Any) -> Any:
        # Right is the end of x in the maps, and its begin in the image.
        return np.ascontiguousarray(values[index][:, :, ::-1])

    labels = there(atlas.tissue) * inside[:, :, ::-1]
    around = Surroundings(
        to_ventricles=distance_mm(labels == VENTRICLES, 1.0),
        to_cortex=distance_mm(there(atlas.cortex) & (labels != BACKGROUND), 1.0),
        intracranial=labels != BACKGROUND,
        infratentorial=there(atlas.infratentorial),
        right=there(atlas.right),
    )
    truth = SimpleITK.GetImageFromArray(labels.astype(np.uint8))
    truth.SetDirection(case.image.GetDirection())
    truth.SetOrigin(case.image.TransformContinuousIndexToPhysicalPoint((0, 0, -1 / 3)))
    return case, truth, around


def variants(case: synthetic.SyntheticCase, truth: SimpleITK.Image) -> Iterator[tuple[str, Any, Any]]:
    """Image and mask of a head in several ways."""
    yield "whole, 3 mm", case.image, case.label
    yield "thick, 6 mm", *(SimpleITK.BinShrink(each, (1, 1, 2)) for each in (case.image, case.label))
    brain = SimpleITK.Resample(truth, case.image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor) > 0
    yield "stripped, 3 mm", SimpleITK.Mask(case.image, brain), case.label
    yield "cut, 3 mm", case.image[:, :, SLICES // 5 :], case.label[:, :, SLICES // 5 :]
    thin = SimpleITK.Image(truth.GetSize(), SimpleITK.sitkUInt8)
    thin.CopyInformation(truth)
    yield (
        "thin, 1 mm",
        *(
            SimpleITK.Resample(each, thin, SimpleITK.Transform(), how, 0.0, each.GetPixelID(), True)
            for each, how in ((case.image, SimpleITK.sitkLinear), (case.label, SimpleITK.sitkNearestNeighbor))
        ),
    )


def volumes(labels: Any, voxel_mm3: float) -> dict[str, float]:
    """Volume of each region and of the ventricles in ml."""
    counts = np.bincount(labels.ravel(), minlength=len(LABELS) + 1) * voxel_mm3 / 1000
    found = {region: sum(counts[LABELS[f"{region}_{side}"]] for side in SIDES) for region in REGIONS}
    return {**found, "ventricles": counts[LABELS["lateral_ventricles"]]}


def main(seeds: list[int]) -> None:
    names = [*REGIONS, "ventricles", "ICV", *(f"WMH {region}" for region in REGIONS[:3])]
    print("| head | " + " | ".join(f"{name} %" for name in names) + " | WMH in another region % | CPU s |")
    print("| --- |" + " ---: |" * (len(names) + 2))
    errors: dict[str, list[list[float]]] = {}
    for seed in seeds:
        case, truth, around = head(seed)
        for name, image, label in variants(case, truth):
            wmh = SimpleITK.GetArrayFromImage(label) == 1
            begun = time.process_time()
            found = locate(image, wmh, "voxel")
            seconds = time.process_time() - begun
            if isinstance(found, str):
                print(f"| {seed}, {name} | failed: {found} |", flush=True)
                continue
            voxel = float(np.prod(image.GetSpacing()))
            index = nearest(truth, image)
            here = Surroundings(*(values[index] for values in vars(around).values()))
            expected = region_map(here, wmh, "voxel")
            # Without WMH, which have a region wherever they lie, and where the image shows the head.
            true, made = (volumes(np.where(wmh, 0, labels), voxel) for labels in (expected, found.labels))
            true["ICV"], made["ICV"] = float(around.intracranial.sum()) / 1000, found.icv_ml
            loads = [region_load(labels, wmh, voxel).ml for labels in (expected, found.labels)]
            for region in REGIONS[:3]:
                one, other = (sum(load[f"{region}_{side}"] for side in SIDES) for load in loads)
                true[f"WMH {region}"], made[f"WMH {region}"] = one, other
            row = [100 * (made[each] / true[each] - 1) if true[each] else np.nan for each in names]
            row.append(100 * float(((expected - 1) // 2 != (found.labels - 1) // 2)[wmh].mean()))
            errors.setdefault(name, []).append(row)
            print(
                f"| {seed}, {name} | "
                + " | ".join("–" if np.isnan(value) else f"{value:+.1f}" for value in row)
                + f" | {seconds:.1f} |",
                flush=True,
            )
    for name, rows in errors.items():
        print(
            f"| **largest of {len(rows)}, {name}** | "
            + " | ".join(f"{v:.1f}" for v in np.nanmax(np.abs(rows), 0))
            + " | |"
        )


def nearest(truth: SimpleITK.Image, image: SimpleITK.Image) -> tuple[Any, ...]:
    """The voxels of the truth that lie at the centres of the voxels of an image."""
    grid = np.stack(np.meshgrid(*map(np.arange, image.GetSize()), indexing="ij"), -1).reshape(-1, 3)
    places = grid @ (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()).T + image.GetOrigin()
    index = np.rint((places - truth.GetOrigin()) @ np.reshape(truth.GetDirection(), (3, 3))).astype(int)
    index = np.clip(index, 0, np.array(truth.GetSize()) - 1).reshape(*image.GetSize(), 3)
    return tuple(index[..., axis].T for axis in (2, 1, 0))


def show_images(paths: Sequence[Path]) -> None:
    """Print what was measured of images whose truth nobody knows."""
    columns = ("ICV ml", "other units", "8 bit", "ventricles ml", "mutual information", "Dice", "cortex", "CPU s")
    print(f"| image | {' | '.join(columns)} | problems |")
    print(f"| --- |{' ---: |' * len(columns)} --- |")
    for path in paths:
        image = SimpleITK.Cast(read_volume(path), SimpleITK.sitkFloat32)
        values = SimpleITK.GetArrayFromImage(image)
        in_8_bit = (np.clip(values / np.percentile(values, 99.9), 0, 1) * 225 + 30).round().astype(np.uint8)
        begun = time.process_time()
        found = measured(image)
        seconds = time.process_time() - begun
        stored = [measured(image_like(each, image)).icv_ml for each in (values / 1000, in_8_bit)]
        print(
            f"| {path.name.partition('.')[0]} | {found.icv_ml:.0f} | {stored[0]:.0f} | {stored[1]:.0f} "
            f"| {found.ventricles_ml:.1f} | {found.information:.3f} | {found.overlap:.3f} | {found.cortex:.2f} "
            f"| {seconds:.1f} | {'; '.join(problems(found))} |",
            flush=True,
        )


def measured(image: SimpleITK.Image) -> Measures:
    registration = register(image)
    if registration is None:
        raise SystemExit("nothing like a brain was found")
    return measure(registration, parcellate(registration))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5], metavar="SEED")
    parser.add_argument("--images", nargs="+", type=Path, metavar="IMAGE")
    arguments = parser.parse_args()
    if arguments.images:
        show_images(arguments.images)
    else:
        main(arguments.seeds)
