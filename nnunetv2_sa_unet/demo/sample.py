"""The real FLAIR volume in the package; what it is and its licence stand in ``data/NOTICE.md``.

The weights in the box were trained on it, so it shows what a result looks like and not how good results are.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["SAMPLE", "SAMPLE_REFERENCE"]

_DATA = Path(str(files("nnunetv2_sa_unet.demo"))) / "data"

#: FLAIR, 256×256×18 voxels of 0.898×0.898×7.2 mm, 8 bit.
SAMPLE = _DATA / "sample.nii.gz"
#: Its lesions as drawn by hand: 1 = white matter hyperintensity.
SAMPLE_REFERENCE = _DATA / "sample_reference.nii.gz"
