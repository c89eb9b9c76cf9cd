"""What the record of a run holds: ``changes.json``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from nnunetv2_sa_unet.segmentation.record import Model, Options

__all__ = ["LONGITUDINAL_VERSION", "ROLES", "Changes", "Figures", "Motion", "Pair", "Visit"]

#: Raised whenever the same two images give another registration, or the same two masks other figures.
LONGITUDINAL_VERSION = 1
#: The two visits of a pair, in the names of files and in tables.
ROLES = ("first", "second")

_Volume = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Visit(_Strict):
    """One of the two visits of a pair. Paths are those seen from the run's folder.

    Attributes:
        visit: what it is called.
        path: of its FLAIR image; of a DICOM series its folder.
        sha256: of that file, header and voxels; of a series that of its files' bytes, one after the other. None if it
            cannot be read.
        series_uid: the series' identifier; None for a file.
        files: of the series, below its folder, in the order of the slices; None for a file.
        image: half-way, below the folder; None if there is none.
        image_sha256: of that file.
        mask: on that grid, likewise.
        mask_sha256: of that file.
    """

    visit: str
    path: str
    sha256: str | None = None
    series_uid: str | None = None
    files: list[str] | None = None
    image: str | None = None
    image_sha256: str | None = None
    mask: str | None = None
    mask_sha256: str | None = None


class Motion(_Strict):
    """How the two images of a pair were brought together.

    Attributes:
        matrix: 4×4, takes points of the first image to those of the second (mm; LPS, as in ITK and DICOM). Half of it
            leads to the half-way space.
        degrees: its angle.
        shift_mm: of the middle of the brain.
        disagreement_mm: of the registrations in either direction (root mean square over a sphere of 80 mm).
        correlation: of the two images' brightness in the brain, after registration.
        overlap: of the two brains (Dice).
        unseen: share of the brain in the first and in the second image that the other image leaves out.
        voxel_mm: edges of the voxel half-way (x, y, z).
        remarks: what is odd about the images, or about comparing them.
    """

    matrix: list[list[float]]
    degrees: float
    shift_mm: float
    disagreement_mm: float
    correlation: float
    overlap: float
    unseen: list[float]
    voxel_mm: list[float]
    remarks: list[str]


class Figures(_Strict):
    """What changed between two visits, where both images show something.

    Attributes:
        first_ml: WMH at the first visit.
        second_ml: at the second.
        change_ml: how much more there is at the second.
        change_percent: that in per cent of the first; None if that has none.
        noise_ml: a change of this much is noise.
        below_noise: whether it is not more than that.
        lesions: their number by kind (``matching.KINDS``).
        ml: their change by kind.
    """

    first_ml: _Volume
    second_ml: _Volume
    change_ml: float
    change_percent: float | None
    noise_ml: _Volume
    below_noise: bool
    lesions: dict[str, NonNegativeInt]
    ml: dict[str, float]


class Pair(_Strict):
    """Two visits of a subject: a row of the table.

    Attributes:
        pair: its name, which also begins the names of its files.
        subject: its name.
        visits: the earlier and the later one.
        order: what says which is the earlier one: the time or the label of a session, or the table of pairs.
        status: ``ok``; ``warning`` if something looks odd; ``failed`` if there are no figures.
        message: what is odd or wrong, in one line.
        motion: None if the images could not be registered.
        changes: map of the kinds of lesions, below the folder; None if there are no figures.
        lesions: table of the lesions, likewise.
        figures: None if there are none.
    """

    pair: str
    subject: str
    visits: list[Visit]
    order: Literal["acq_time", "label", "table"]
    status: Literal["ok", "warning", "failed"]
    message: str = ""
    motion: Motion | None = None
    changes: str | None = None
    lesions: str | None = None
    figures: Figures | None = None


class Changes(_Strict):
    """The content of ``changes.json``.

    Attributes:
        nnunetv2_sa_unet: version of this package.
        versions: of python and of the packages that the figures depend on.
        model: that made the masks.
        options: likewise.
        longitudinal_version: see ``LONGITUDINAL_VERSION``.
        pairs: in the order of their names.
    """

    nnunetv2_sa_unet: str
    versions: dict[str, str]
    model: Model
    options: Options
    longitudinal_version: int
    pairs: list[Pair]
