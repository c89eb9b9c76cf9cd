"""A trained model that turns images into label maps, step by step, with nnU-Net's own means.

nnU-Net's predictor does all steps of all images in one call, which ends at the first image that cannot be used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.images.masks import WMH
from nnunetv2_sa_unet.images.nifti import is_nifti
from nnunetv2_sa_unet.nnunet.loading import all_folds, load_model
from nnunetv2_sa_unet.segmentation.decision import Prediction
from nnunetv2_sa_unet.segmentation.orientation import Grid, model_orientation, nibabel_geometry
from nnunetv2_sa_unet.segmentation.record import Model
from nnunetv2_sa_unet.weights.registry import boxed_at

with redirect_stdout(StringIO()):
    # nnU-Net prints which of its folders are not set; a model folder is all that is needed here.
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

__all__ = ["Segmenter"]

#: Slices at a time.
_SLAB = 16
_Labels = npt.NDArray[np.integer[Any]]


class Segmenter:
    """A model in memory.

    :meth:`prepare`, :meth:`predict` and :meth:`finish` of different images may run in different threads at a time.

    Args:
        folder: nnU-Net's model folder (``TRAINER__PLANS__CONFIGURATION``), or that of a model in the box.
        folds: whose predictions are averaged; all that are trained if None.
        checkpoint: name of the file in each fold's folder.
        device: ``cuda``, ``cpu`` or ``mps``.
        step_size: of the sliding window, as a fraction of the patch.
        mirroring: average predictions of mirrored images, if the model was trained with them.
        trust: let the model's files run what they want.

    Attributes:
        model: what it is, for the record of a run.
        channels: of the images.
        mirrors: whether predictions of mirrored images are averaged: wanted, and the model allows it.
        spacing: that images are resampled to in mm, (z, y, x) or, of a 2d model, (y, x).
        orientation: that images must be turned to before :meth:`prepare` sees them.
        threads: of torch; the last bits of what the network says depend on it.

    Raises:
        InputError: the folder is no model, lacks a fold, cannot be loaded, or is a kind of model that cannot be used
            here.
    """

    def __init__(
        self,
        folder: Path,
        folds: Sequence[str] | None,
        checkpoint: str,
        device: str,
        step_size: float,
        mirroring: bool,
        trust: bool = False,
    ) -> None:
        chosen = all_folds(folder, checkpoint) if folds is None else list(dict.fromkeys(folds))
        # As nnUNetv2_predict does it.
        torch.set_num_threads(1 if device == "cuda" else os.cpu_count() or 1)
        loaded = load_model(folder, chosen, checkpoint, device, step_size, mirroring, trust)
        self._predictor = predictor = loaded.predictor
        self._reader = predictor.plans_manager.image_reader_writer_class()
        self._preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        self.threads: int = torch.get_num_threads()
        self._wmh = _wmh_channel(folder, predictor.label_manager)
        labels = predictor.label_manager
        self._knows_wmh_alone = not labels.has_regions and list(labels.all_labels) == [0, WMH]
        self._refuse_other_kinds(folder)
        self.channels: int = loaded.n_channels
        self.mirrors: bool = mirroring and bool(predictor.allowed_mirroring_axes)
        spacing = list(predictor.configuration_manager.spacing)
        back = predictor.plans_manager.transpose_backward
        self.spacing: list[float] = [spacing[axis] for axis in back] if len(spacing) == len(back) else spacing
        boxed = boxed_at(folder)
        self.orientation = model_orientation(folder, chosen, predictor.plans_manager.plans, type(self._reader).__name__)
        self.model = Model(
            name=None if boxed is None else boxed.name,
            version=None if boxed is None else boxed.version,
            threshold=None if boxed is None else boxed.threshold,
            folder=os.path.abspath(folder),
            dataset=predictor.plans_manager.dataset_name,
            trainer=predictor.trainer_name,
            plans=predictor.plans_manager.plans_name,
            configuration=loaded.configuration,
            folds=[fold if fold == "all" else int(fold) for fold in chosen],
            checkpoint=checkpoint,
            sha256={file: sha256([folder / file]) for file in loaded.files},
            orientation=self.orientation.code,
        )

    @property
    def gives_probability(self) -> bool:
        """Whether the model has a probability of WMH alone."""
        return self._wmh is not None

    def prepare(self, values: npt.NDArray[np.float32], spacing: Sequence[float]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Preprocess an image.

        Args:
            values: (channels, z, y, x), in the :attr:`orientation` of the model.
            spacing: of its voxels in mm (z, y, x).

        Returns:
            The image (channels, z, y, x) for :meth:`predict` and nnU-Net's properties for :meth:`finish`.
        """
        predictor = self._predictor
        image, _, properties = self._preprocessor.run_case_npy(
            values,
            None,
            {"spacing": list(spacing)},
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.dataset_json,
        )
        return torch.from_numpy(image).to(dtype=torch.float32, memory_format=torch.contiguous_format), properties

    def predict(self, image: torch.Tensor) -> npt.NDArray[Any]:
        """The logits (heads, z, y, x) of a prepared image, averaged over the folds."""
        # nnU-Net resamples arrays and tensors by different functions, and its command gives it arrays.
        logits: npt.NDArray[Any] = self._predictor.predict_logits_from_preprocessed_data(image).cpu().numpy()
        return logits

    def finish(self, logits: npt.NDArray[Any], properties: dict[str, Any], with_probability: bool) -> Prediction:
        """Bring logits back to the grid of the image.

        Args:
            logits: from :meth:`predict`.
            properties: from :meth:`prepare`.
            with_probability: of WMH, which :attr:`gives_probability` must promise.
        """
        labels_manager = self._predictor.label_manager
        found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self._predictor.plans_manager,
            self._predictor.configuration_manager,
            labels_manager,
            properties,
            return_probabilities=with_probability,
            num_threads_torch=self.threads,
        )
        if not with_probability:
            return Prediction(found)
        labels, heads = found
        probability = heads[self._wmh].astype(np.float32)
        if self._knows_wmh_alone:
            alternatives = [np.zeros_like(labels), np.full_like(labels, WMH)]
        else:
            # Impossible or certain; what else a voxel may be stays as probable as it is.
            alternatives = [self._labels(heads, wmh).astype(labels.dtype) for wmh in (-1, 2)]
        return Prediction.of(labels, probability, *alternatives)

    def _labels(self, heads: npt.NDArray[Any], wmh: float) -> npt.NDArray[Any]:
        """The labels (z, y, x) of heads whose probability of WMH is replaced."""
        heads[self._wmh] = wmh
        # Whole volumes of indices of 64 bit would be the largest arrays of all.
        slabs = np.array_split(heads, max(1, heads.shape[1] // _SLAB), axis=1)
        return np.concatenate([self._predictor.label_manager.convert_probabilities_to_segmentation(s) for s in slabs])

    def write_as_nnunet(self, labels: _Labels, path: Path, source: Path) -> None:
        """Write labels with the bytes that nnU-Net's command gives them.

        Args:
            labels: (z, y, x) in the :attr:`orientation` of the model.
            path: to write.
            source: the NIfTI file of the image, for whose geometry :meth:`writes_as_nnunet` holds.
        """
        self._reader.write_seg(labels, str(path), nibabel_geometry(source))

    def writes_as_nnunet(self, grid: Grid, source: Path) -> bool:
        """Whether only nnU-Net's own writer gives a mask the bytes of nnU-Net's command: it is one that uses nibabel.

        The command must see the image as we do, too.

        Args:
            grid: of the image.
            source: its file.
        """
        by_nibabel = type(self._reader).__name__.startswith("NibabelIO")
        alike = self.orientation.source == "reader" or not grid.is_turned
        return by_nibabel and alike and is_nifti(source) and grid.is_read_alike(source)

    def _refuse_other_kinds(self, folder: Path) -> None:
        if ".nii.gz" not in self._reader.supported_file_endings:
            raise InputError(f"{folder}: reads images with {type(self._reader).__name__}; expected a model of NIfTI")
        previous = self._predictor.configuration_manager.previous_stage_name
        if previous is not None:
            raise InputError(
                f"{folder}: second stage of a cascade, which needs the masks of {previous}; use nnUNetv2_predict"
            )


def _wmh_channel(folder: Path, labels: Any) -> int | None:
    """Which head gives the probability of label 1; None if that label is what several regions leave over."""
    if labels.has_regions:
        known, heads = labels.regions_class_order, labels.foreground_regions
    else:
        known, heads = labels.all_labels, labels.all_labels
    if WMH not in known:
        raise InputError(f"{folder / 'dataset.json'}: labels: no label {WMH}; expected a model with label 1 for WMH")
    alone = [index for index, head in enumerate(heads) if head in (WMH, (WMH,))]
    return alone[0] if alone else None
