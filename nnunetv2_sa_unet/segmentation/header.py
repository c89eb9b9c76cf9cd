"""What the record of a run says of the run itself."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.record import SEGMENTATION_VERSION, LeftOut, Options, Segmentation

__all__ = ["run_header"]


def run_header(segmenter: Segmenter, options: Options, left_out: Sequence[LeftOut] = ()) -> Segmentation:
    """The record without subjects.

    Args:
        segmenter: the model.
        options: see there.
        left_out: of the inputs.
    """
    return Segmentation(
        nnunetv2_sa_unet=__version__,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("nnunetv2", "torch", "SimpleITK", "numpy")},
        },
        model=segmenter.model,
        options=options,
        segmentation_version=SEGMENTATION_VERSION,
        subjects=[],
        left_out=list(left_out),
    )
