"""What the record of a segmentation run holds: ``record_files`` reads and writes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from nnunetv2_sa_unet.regions.assignment import Rule

__all__ = [
    "SEGMENTATION_VERSION", "Decision", "Input", "LeftOut", "Model", "Options", "Quality", "Regions", "Segmentation",
    "Subject",
]  # fmt: skip

#: Raised whenever the same images, model and options give other masks than before.
SEGMENTATION_VERSION = 1

_Volume = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Input(_Strict):
    """A file, or a DICOM series.

    Attributes:
        path: absolute, and in files relative to the run's folder; of a series its folder.
        sha256: of the file; of a series that of its files' bytes, one after the other. None if it cannot be read.
        series_uid: the series' identifier; None for a file.
        files: the names of the series' files in the order of the slices; None for a file.
    """

    path: str
    sha256: str | None
    series_uid: str | None = None
    files: list[str] | None = None


class Model(_Strict):
    """The model that segmented.

    Attributes:
        folder: absolute.
        dataset: that it was trained on.
        trainer: name of its class.
        plans: name of its plans.
        configuration: such as ``3d_fullres``.
        folds: whose networks were averaged, in order.
        checkpoint: name of the file in each fold's folder.
        sha256: by the file's path in ``folder``: plans, data set and a checkpoint a fold.
        name: of a model in the box; None for others.
        version: of its weights.
        threshold: the probability, as trained, from which its most probable label is WMH.
        orientation: that images are turned to for it, such as ``LPS``; None in records of versions that turned none.
    """

    folder: str
    dataset: str
    trainer: str
    plans: str
    configuration: str
    folds: list[int | str]
    checkpoint: str
    sha256: dict[str, str]
    name: str | None = None
    version: str | None = None
    threshold: float | None = None
    orientation: str | None = None


class Decision(_Strict):
    """How probabilities became a mask.

    Attributes:
        threshold: see :class:`Options`.
        min_volume_mm3: see :class:`Options`.
        clear_ends: see :class:`Options`.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    clear_ends: float | None = None


class Options(_Strict):
    """What changes the masks, or which files there are.

    Attributes:
        threshold: probability from which a voxel is WMH; None for nnU-Net's own choice of the most probable label.
        min_volume_mm3: smaller lesions are dropped; None keeps all.
        clear_ends: fraction of the axial slices at either end in which nothing is WMH; None for none.
        exclude: path (see :class:`Input`) of the mask, or of the folder of masks, where nothing is WMH; None for none.
        probabilities: whether probability maps are written.
        regions: by which rule WMH are counted by region; None if they are not.
        dicom_seg: whether the last run wrote DICOM objects.
        step_size: of the sliding window, as a fraction of the patch.
        mirroring: whether predictions of mirrored images are averaged.
        device: ``cpu``, ``cuda`` or ``mps``; of the last run.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    clear_ends: float | None = None
    exclude: str | None = None
    probabilities: bool = False
    regions: Rule | None = None
    dicom_seg: bool = False
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "cpu"

    @property
    def decision(self) -> Decision:
        """What of the options needs no network."""
        return Decision(threshold=self.threshold, min_volume_mm3=self.min_volume_mm3, clear_ends=self.clear_ends)


class Regions(_Strict):
    """Where the WMH of a subject lie; definitions in ``docs/reference/regions.md``.

    Attributes:
        rule: see :class:`Options`.
        registration: whether the atlas lies on the head; nothing is known of the rest where it ``failed``.
        reason: why it is believed not to; empty if it does.
        mask_sha256: of the mask that was counted.
        map: of the map of regions, below the folder of the run.
        map_sha256: of that file.
        ml: volume of WMH by region and side (``periventricular_left`` …).
        lesions: their number by the region that holds most of each.
        icv_ml: estimate of the intracranial volume.
    """

    rule: Rule
    registration: Literal["ok", "failed"]
    reason: str = ""
    mask_sha256: str | None = None
    map: str | None = None
    map_sha256: str | None = None
    ml: dict[str, _Volume] | None = None
    lesions: dict[str, NonNegativeInt] | None = None
    icv_ml: _Volume | None = None


class Quality(_Strict):
    """How good an image is; see :class:`.images.quality.ImageQuality`, whose figures these are.

    Attributes:
        flags: words for what is beyond its limit.
    """

    noise: float | None = None
    ghosting: float | None = None
    border_cm2: float | None = None
    top_share: float | None = None
    fluid: float | None = None
    flags: list[str] = []


class Subject(_Strict):
    """One subject: a row of the table.

    Attributes:
        subject: its name, which also begins the names of its files.
        status: ``ok``; ``warning`` if it was segmented but looks odd; ``failed`` if it was not.
        message: what is odd or wrong, in one line; for ``ok`` what was assumed, if anything.
        inputs: one a channel.
        exclude: the mask where nothing is WMH, if it has one.
        mask: of the label map, below the folder of the run.
        mask_sha256: of that file.
        probabilities: of the map of the probability of WMH (0 to 1), likewise.
        probabilities_sha256: of that file.
        alternatives: of the label maps between which the probability decides, likewise; None if the map says enough.
        alternatives_sha256: of that file.
        dicom_seg: of the mask as a DICOM Segmentation object, likewise.
        dicom_seg_sha256: of that file.
        orientation: in which the network saw the image; None in records of versions that turned none.
        decision: how the mask was made of probabilities.
        made_with: versions by package, and the device, of the run that segmented it.
        volume_ml: of all lesions.
        lesions: their number.
        largest_ml: volume of the largest; 0 if there is none.
        lesions_by_size: their number by the name of the size class (``lesion_sizes.SIZE_CLASSES``).
        ml_by_size: their volume likewise.
        regions: where they lie; None if nobody asked for it.
        quality: of the image, of several channels the first; None where nothing like a head was found, and in records
            of versions that did not look.
    """

    subject: str
    status: Literal["ok", "warning", "failed"]
    message: str
    inputs: list[Input]
    exclude: Input | None = None
    mask: str | None = None
    mask_sha256: str | None = None
    probabilities: str | None = None
    probabilities_sha256: str | None = None
    alternatives: str | None = None
    alternatives_sha256: str | None = None
    dicom_seg: str | None = None
    dicom_seg_sha256: str | None = None
    orientation: str | None = None
    decision: Decision | None = None
    made_with: dict[str, str] | None = None
    volume_ml: _Volume | None = None
    lesions: NonNegativeInt | None = None
    largest_ml: _Volume | None = None
    lesions_by_size: dict[str, NonNegativeInt] | None = None
    ml_by_size: dict[str, _Volume] | None = None
    regions: Regions | None = None
    quality: Quality | None = None


class LeftOut(_Strict):
    """Something that was looked at among the inputs and is no subject.

    Attributes:
        path: as the command prints it; in files relative to the run's folder.
        reason: why not.
        harmless: whether it plainly is nothing to segment.
    """

    path: str
    reason: str
    harmless: bool


class Segmentation(_Strict):
    """The content of ``volumes.json``.

    Attributes:
        nnunetv2_sa_unet: version of this package in the last run.
        versions: of python and of the packages that the masks depend on, in the last run.
        model: see :class:`Model`.
        options: see :class:`Options`.
        segmentation_version: see ``SEGMENTATION_VERSION``.
        subjects: in the order of their names.
        left_out: in the last run.
    """

    nnunetv2_sa_unet: str
    versions: dict[str, str]
    model: Model
    options: Options
    segmentation_version: int = 1
    subjects: list[Subject]
    left_out: list[LeftOut] = []

    @property
    def made_with(self) -> dict[str, str]:
        """What its run notes in the rows of the subjects that it segments."""
        return {"nnunetv2_sa_unet": self.nnunetv2_sa_unet, **self.versions, "device": self.options.device}
