"""Measure the limits of ``nnunetv2_sa_unet.images.quality``: real volumes as they are, and spoiled in known ways.

    python docs/benchmarks/image_quality.py REAL [REAL ...] [--t1 FILE ...]

REAL are FLAIR volumes in which nothing is wrong; each is spoiled by ghosts (this package's own transform, at both ends
of the range of its augmentation and weaker), Rician noise, bias fields, and by cutting a part off, and turned to a
contrast in which fluid is bright. T1 are T1-weighted volumes.
Prints a table in Markdown: how many are flagged, by what, and the figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from scipy import ndimage

from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.quality import LIMITS, ImageQuality, measure
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.nnunet.transforms import BiasFieldTransform, MotionGhostingTransform


def ghosts(image: SimpleITK.Image, interval: int, scale: float) -> SimpleITK.Image:
    """Scale every n-th line of k-space, as the training's augmentation does."""
    values = torch.from_numpy(SimpleITK.GetArrayFromImage(image).astype(np.float32))[None]
    spoiled = MotionGhostingTransform((interval,), (scale, scale))(image=values)["image"][0].numpy()
    return image_like(np.abs(spoiled), image)


def noise(image: SimpleITK.Image, share: float) -> SimpleITK.Image:
    """Add Rician noise with this share of the brain's brightness as its standard deviation in each channel."""
    values = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    random = np.random.default_rng(0)
    spread = share * _level(values)
    real, imaginary = (random.normal(0, spread, values.shape) for _ in range(2))
    return image_like(np.hypot(values + real, imaginary).astype(np.float32), image)


def bias(image: SimpleITK.Image, attenuation: float) -> SimpleITK.Image:
    """Let the brightness fall off from a random point; alone it is no fault that a network minds."""
    np.random.seed(0)  # noqa: NPY002 (the generator that the transform draws from)
    values = torch.from_numpy(SimpleITK.GetArrayFromImage(image).astype(np.float32))[None]
    transform = BiasFieldTransform(image.GetSpacing()[::-1], (attenuation, attenuation))
    return image_like(transform(image=values)["image"][0].numpy(), image)


def bright_fluid(image: SimpleITK.Image) -> SimpleITK.Image:
    """What is darker than the brain becomes brighter than it, up to three times; the air around the head stays."""
    values = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    level = _level(values)
    share = values / level
    head = np.stack([ndimage.binary_fill_holes(plane) for plane in share > 0.3])
    turned = np.where(head & (share < 1), 3 - 2 * share, share)
    return image_like((turned * level).astype(np.float32), image)


def cut(image: SimpleITK.Image, axis: int, millimetres: float, first: bool) -> SimpleITK.Image:
    """Leave out so much of the head at one end of an axis, as the place of its border says."""
    values = SimpleITK.GetArrayFromImage(image)
    across = tuple(other for other in range(3) if other != 2 - axis)
    place = np.flatnonzero((values > 0.5 * _level(values)).sum(axis=across) > 50)
    voxels = round(millimetres / image.GetSpacing()[axis])
    keep = [slice(None)] * 3
    keep[axis] = slice(int(place[0]) + voxels, None) if first else slice(None, int(place[-1]) + 1 - voxels)
    return image[tuple(keep)]


def _level(values: np.ndarray) -> float:
    middle = values[tuple(slice(size // 3, 2 * size // 3) for size in values.shape)]
    return float(np.median(middle[middle > 0.3 * np.percentile(middle, 75)]))


#: What is done to a real volume, and the figure that should say so; none should for a bias field.
SPOILED: dict[str, tuple[str, Callable[[SimpleITK.Image], SimpleITK.Image]]] = {
    **{
        f"every {interval}nd line × {scale}" if interval == 2 else f"every {interval}rd line × {scale}": (
            "ghosting",
            lambda image, interval=interval, scale=scale: ghosts(image, interval, scale),  # type: ignore[misc]
        )
        for scale in (0.9, 0.8, 0.7, 0.5)
        for interval in (2, 3)
    },
    **{
        f"noise {share:.0%}": ("noise", lambda image, share=share: noise(image, share))  # type: ignore[misc]
        for share in (0.05, 0.1, 0.15)
    },
    **{
        f"bias field {share:.0%}": ("", lambda image, share=share: bias(image, share))  # type: ignore[misc]
        for share in (0.3, 0.6)
    },
    "20 mm of the back cut off": ("border_cm2", lambda image: cut(image, 1, 20, False)),
    "20 mm of the left cut off": ("border_cm2", lambda image: cut(image, 0, 20, False)),
    "20 mm of the top cut off": ("top_share", lambda image: cut(image, 2, 20, False)),
    "30 mm of the top cut off": ("top_share", lambda image: cut(image, 2, 30, False)),
    "bright fluid": ("fluid", bright_fluid),
}


def rows(real: list[SimpleITK.Image], t1: list[SimpleITK.Image]) -> Iterator[tuple[str, str, list[ImageQuality]]]:
    """A kind of image, the figure that should flag it, and what was measured."""
    yield "real FLAIR", "", _all(real)
    for name, (figure, spoil) in SPOILED.items():
        yield name, figure, _all([spoil(SimpleITK.DICOMOrient(image, "LPS")) for image in real])
    if t1:
        yield "T1", "fluid", _all(t1)


def _all(images: list[SimpleITK.Image]) -> list[ImageQuality]:
    return [found for image in images if (found := measure(image)) is not None]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", nargs="+", type=Path)
    parser.add_argument("--t1", nargs="*", type=Path, default=[])
    arguments = parser.parse_args()
    real = [read_volume(path) for path in arguments.real]
    seconds = []
    for image in real:
        start = time.perf_counter()
        measure(image)
        seconds.append(time.perf_counter() - start)
    sizes = [
        f"{second:.2f} s for {'×'.join(map(str, image.GetSize()))}" for second, image in zip(seconds, real, strict=True)
    ]
    print("Took", ", ".join(sizes), "\n")
    print(
        "| image | n | measured by | found | its figure | limit | other flags |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, figure, found in rows(real, [read_volume(path) for path in arguments.t1]):
        flags = [{finding.name for finding in each.findings()} for each in found]
        others = {key: sum(key in each for each in flags) for key in LIMITS if key != figure}
        said = ", ".join(f"{key} {count}" for key, count in others.items() if count) or "none"
        values = [getattr(each, figure) for each in found] if figure else []
        shown = [value for value in values if value is not None]
        hits = f"{sum(figure in each for each in flags)} of {len(found)}" if figure else ""
        hits += f", {len(values) - len(shown)} not measured" if len(shown) < len(values) else ""
        span = f"{min(shown):.3f} to {max(shown):.3f}" if shown else ""
        print(f"| {name} | {len(found)} | {figure} | {hits} | {span} | {LIMITS.get(figure, '')} | {said} |")
    print("\n| figure | n | real FLAIR | limit |\n| --- | --- | --- | --- |")
    found = _all(real)
    for key, limit in LIMITS.items():
        shown = [value for each in found if (value := getattr(each, key)) is not None]
        print(f"| {key} | {len(shown)} | {min(shown):.3f} to {max(shown):.3f} | {limit} |")


if __name__ == "__main__":
    main()
