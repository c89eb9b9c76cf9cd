"""Measure how much memory ``nnUNetv2_sa_unet segment`` takes for volumes of one size.

python docs/benchmarks/segment_memory.py MODEL --size 512 512 400 --spacing 0.45 0.45 0.4 --subjects 3 [OPTION...]

Volumes are noise in the shape of a head. Further options go to the command. The sliding window takes whole steps and
no mirroring, which saves time and changes no amount of memory. Linux and macOS.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK


def write_head(path: Path, size: list[int], spacing: list[float]) -> None:
    """Write an ellipsoid of noise, stored as axial slices."""
    random = np.random.default_rng(0)
    values = np.zeros(size[::-1], np.int16)
    x, y = (np.linspace(-1.1, 1.1, length) ** 2 for length in size[:2])
    for index, z in enumerate(np.linspace(-1.1, 1.1, size[2]) ** 2):
        inside = y[:, None] + x[None] + z < 1
        values[index] = np.where(inside, random.normal(200, 40, inside.shape), random.gamma(2, 5, inside.shape))
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", nargs=3, type=int, default=[512, 512, 400], help="voxels along x, y, z")
    parser.add_argument("--spacing", nargs=3, type=float, default=[0.45, 0.45, 0.4], help="mm along x, y, z")
    parser.add_argument("--subjects", type=int, default=3)
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "in")
        source.mkdir()
        write_head(source / "s0.nii", arguments.size, arguments.spacing)
        for number in range(1, arguments.subjects):
            (source / f"s{number}.nii").hardlink_to(source / "s0.nii")
        subprocess.run(
            [
                *(sys.executable, "-m", "nnunetv2_sa_unet.commands.main", "segment", str(source)),
                *("-o", str(Path(place, "out")), "-m", str(arguments.model), "-device", "cpu"),
                *("--no-report", "--disable_tta", "-step_size", "1", *options),
            ],
            check=True,
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"peak {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
