"""A trained network as an ONNX file that was compared with torch before it got its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from torch import nn
from torch.onnx.errors import OnnxExporterError

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent
from nnunetv2_sa_unet.nnunet.loading import load_model

__all__ = ["INPUT", "OUTPUT", "TOLERANCE", "TrainedFold", "example_patch", "load_fold", "write_onnx"]

INPUT, OUTPUT = "patch", "logits"

#: Largest difference of a logit between torch and onnxruntime, both in float32.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class TrainedFold:
    """The network of one fold, and what stands beside it in the model folder.

    Attributes:
        network: in evaluation mode, with its weights, on the CPU.
        predictor: nnU-Net's predictor that built it.
        n_channels: channels of its input; in a cascade those of the previous stage's labels too.
    """

    network: nn.Module
    predictor: nnUNetPredictor
    n_channels: int

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Voxels along each axis, (z, y, x) or (y, x)."""
        return tuple(self.predictor.configuration_manager.patch_size)

    def describe(self) -> dict[str, str]:
        """Say in words for the file's metadata what the network is."""
        plans = self.predictor.plans_manager
        configuration = self.predictor.configuration_manager
        return {
            "nnunetv2_sa_unet": __version__,
            "trainer": self.predictor.trainer_name,
            "dataset": plans.dataset_name,
            "plans": plans.plans_name,
            "network": configuration.network_arch_class_name,
            "patch_size": " ".join(map(str, self.patch_size)),
            "spacing": " ".join(map(str, configuration.spacing)),
        }


def load_fold(model_folder: Path, fold: str, checkpoint: str, trust: bool = False) -> TrainedFold:
    """Build the network of a model folder with one fold's weights.

    Raises:
        InputError: if the folder is no model, has no such checkpoint, or cannot be loaded.
    """
    loaded = load_model(model_folder, [fold], checkpoint, trust=trust)
    # With nnUNet_compile nnU-Net wraps the network, and a wrapped one cannot be exported.
    network = getattr(loaded.predictor.network, "_orig_mod", loaded.predictor.network)
    return TrainedFold(network.eval(), loaded.predictor, loaded.n_channels)


def example_patch(fold: TrainedFold) -> tuple[npt.NDArray[np.float32], str]:
    """Return a batch of one patch for the network and say where it is from.

    It is the centre of the first preprocessed case of the model's data set, or standard normal noise where that data
    set is not on this machine. In a cascade the channels of the previous stage are empty.
    """
    shape = (fold.n_channels, *fold.patch_size)
    data = _preprocessed_folder(fold)
    if data is None:
        noise = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
        return noise, "noise, because the model's preprocessed data are not here"
    dataset_class = infer_dataset_class(str(data))
    case = sorted(dataset_class.get_identifiers(str(data)))[0]
    image = np.asarray(dataset_class(str(data), [case]).load_case(case)[0][:], dtype=np.float32)
    if len(shape) == 3:
        image = image[:, image.shape[1] // 2]
    patch = np.zeros((1, *shape), np.float32)
    patch[0][_overlap(shape, image.shape)] = image[_overlap(image.shape, shape)]
    return patch, f"the centre of case {case}"


def write_onnx(fold: TrainedFold, example: npt.NDArray[np.float32], path: Path) -> float:
    """Write the network to ``path``, unless onnxruntime's logits differ from torch's.

    The file takes ``patch`` (N, channels, *patch_size) in float32, N being free, and gives ``logits``
    (N, classes, *patch_size). The patch size is fixed: nnU-Net cuts every volume into patches of this size.

    Args:
        fold: what to export.
        example: (1, channels, *patch_size), on which both are compared; its mirror image is added, so that the batch
            has two.
        path: ends in ``.onnx``.

    Returns:
        the largest difference of a logit.

    Raises:
        InputError: if torch cannot export the network, or a logit differs by more than :data:`TOLERANCE`; nothing is
            written then.
    """
    import onnxruntime

    batch = np.concatenate((example, example[..., ::-1]))
    try:
        program = torch.onnx.export(
            fold.network,
            (torch.from_numpy(batch),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            verbose=False,
        )
    except OnnxExporterError as error:
        import onnxscript

        # What it says itself is advice for those who develop torch.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause).partition("\n")[0]
        raise InputError(
            f"{path}: not written: torch {torch.__version__} with onnxscript {onnxscript.__version__} cannot export a "
            f"{type(fold.network).__name__} ({reason}): try a newer torch"
        ) from error
    assert program is not None
    program.model.metadata_props.update(fold.describe())
    with complete_or_absent(path) as temporary:
        program.save(temporary, external_data=False)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        # A batch of one tells whether the size of the batch is really free.
        difference = max(_difference(fold.network, session, images) for images in (batch, example))
        if not difference <= TOLERANCE:
            raise InputError(
                f"{path}: not written: onnxruntime's logits differ by {difference:.1e} from torch's, more than "
                f"{TOLERANCE:.0e}: try another version of onnxruntime or torch"
            )
    return difference


def _difference(network: nn.Module, session: Any, images: npt.NDArray[np.float32]) -> float:
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    (found,) = session.run([OUTPUT], {INPUT: images})
    return float(np.abs(found - expected).max())


def _preprocessed_folder(fold: TrainedFold) -> Path | None:
    if not nnUNet_preprocessed.is_set():
        return None
    folder = Path(
        os.fspath(nnUNet_preprocessed),
        fold.predictor.plans_manager.dataset_name,
        fold.predictor.configuration_manager.data_identifier,
    )
    return folder if any(folder.glob("*.pkl")) else None


def _overlap(shape: Sequence[int], other: Sequence[int]) -> tuple[slice, ...]:
    """Return the part of an array of this shape that a centred array of the other shape covers; channels from 0."""
    extents = [min(sizes) for sizes in zip(shape, other, strict=True)]
    starts = [0, *((size - extent) // 2 for size, extent in zip(shape[1:], extents[1:], strict=True))]
    return tuple(slice(start, start + extent) for start, extent in zip(starts, extents, strict=True))
