"""Write a folder with the names and matrix sizes of the WMH challenge's 170 cases, filled with generated volumes.

python challenge_tree.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK
from scipy.ndimage import gaussian_filter

# Folder, first id, how many, matrix (x, y, z), voxel (mm).
PLACES = [
    ("training/Utrecht", 0, 20, (240, 240, 48), (0.96, 0.96, 3)),
    ("training/Singapore", 50, 20, (232, 256, 48), (1, 1, 3)),
    ("training/Amsterdam/GE3T", 100, 20, (132, 256, 83), (1.2, 0.98, 3)),
    ("test/Utrecht", 20, 30, (240, 240, 48), (0.96, 0.96, 3)),
    ("test/Singapore", 70, 30, (232, 256, 48), (1, 1, 3)),
    ("test/Amsterdam/GE3T", 120, 30, (132, 256, 83), (1.2, 0.98, 3)),
    ("test/Amsterdam/Philips_VU .PETMR_01.", 160, 10, (321, 240, 83), (0.56, 1.04, 3)),
    ("test/Amsterdam/GE1T5", 150, 10, (128, 256, 103), (1.3, 1.21, 3)),
]


def write(path: Path, values: np.ndarray, voxel: tuple[float, ...], turn: float) -> None:
    """Write a volume that is turned about the x axis by some rad."""
    image = SimpleITK.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing([float(edge) for edge in voxel])
    cosine, sine = np.cos(turn), np.sin(turn)
    image.SetDirection([1, 0, 0, 0, cosine, -sine, 0, sine, cosine])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def main(folder: Path) -> None:
    """Write all cases; noise in 32-bit floats compresses worse than any real volume."""
    random = np.random.default_rng(0)
    for place, first, number, matrix, voxel in PLACES:
        shape = matrix[::-1]
        lesions = gaussian_filter(random.standard_normal(shape, np.float32), (1, 2.5, 2.5))
        label = (lesions > np.quantile(lesions, 0.99)) + 2.0 * (lesions < np.quantile(lesions, 0.002))
        for identifier in range(first, first + number):
            case = folder / place / str(identifier)
            for name in ("FLAIR", "T1"):
                write(case / "pre" / f"{name}.nii.gz", random.normal(100, 20, shape) + 50 * label, voxel, 0.1)
            write(case / "wmh.nii.gz", label, voxel, 0.1 + 2e-5)
            for observer in ("o3", "o4") if place.startswith("training") else ():
                reading = folder / "additional_annotations" / f"observer_{observer}" / place / str(identifier)
                write(reading / "result.nii.gz", label == 1, voxel, 0.1 + 2e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
