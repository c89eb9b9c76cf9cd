"""Make the folder of a model in the box from a model that nnU-Net trained.

    python docs/weights/package.py MODEL_FOLDER -o nnunetv2_sa_unet/weights/NAME --threshold 0.1

MODEL_FOLDER holds plans.json, dataset.json, dataset_fingerprint.json and a checkpoint a fold. With --weights the
numbers come from state dictionaries that were saved with torch.save instead (one a fold, in the order of -f), and what
else a checkpoint says from MODEL_FOLDER/checkpoint.json.

Weights are stored in 16 bit. What else changes, and why:

* The bias of the last layer's WMH channel rises by log((1 - t) / t) for --threshold t, which makes t the probability
  from which WMH is the most probable label. So nnU-Net's own commands decide by it too.
* Predictions are not mirrored, unless --mirroring: a card's figures hold for one way of predicting.
* Images are compressed NIfTI, as people have them: the file ending in dataset.json says what nnUNetv2_predict takes.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nnunetv2_sa_unet.files import write_json
from nnunetv2_sa_unet.images.masks import WMH
from nnunetv2_sa_unet.nnunet.checkpoints import read_checkpoint
from nnunetv2_sa_unet.nnunet.loading import load_model
from nnunetv2_sa_unet.weights.registry import WEIGHTS_NAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_FOLDER")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("-f", dest="folds", nargs="+", default=["all"], metavar="FOLD", help="(all)")
    parser.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth", metavar="NAME")
    parser.add_argument("--weights", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="(0.5: the weights as they are)")
    parser.add_argument("--mirroring", action="store_true", help="average over mirrored images, as nnU-Net does")
    arguments = parser.parse_args()
    package(arguments)


def package(arguments: argparse.Namespace) -> None:
    model, output = arguments.model, arguments.output
    facts, states = _checkpoints(arguments)
    if not arguments.mirroring:
        facts["inference_allowed_mirroring_axes"] = None
    output.mkdir(parents=True, exist_ok=True)
    for name in ("plans.json", "dataset_fingerprint.json"):
        shutil.copyfile(model / name, output / name)
    dataset = json.loads((model / "dataset.json").read_text(encoding="utf-8"))
    write_json(output / "dataset.json", dataset | {"file_ending": ".nii.gz"})
    write_json(output / "checkpoint.json", facts)
    for fold, state in zip(arguments.folds, states, strict=True):
        folder = output / f"fold_{fold}"
        folder.mkdir(exist_ok=True)
        tensors = {name: values.half().contiguous() for name, values in _once_each(state).items()}
        _move_threshold(tensors, arguments.threshold)
        save_file(tensors, folder / WEIGHTS_NAME, metadata={"format": "pt"})
        # safetensors makes files that only their owner reads.
        (folder / WEIGHTS_NAME).chmod(0o644)
    # Nothing is missing and nothing is left over, or this raises.
    load_model(output, arguments.folds, WEIGHTS_NAME)


def _checkpoints(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, torch.Tensor]]]:
    """What a checkpoint says besides its weights, and the weights of each fold."""
    if arguments.weights:
        said = json.loads((arguments.model / "checkpoint.json").read_text(encoding="utf-8"))
        configuration = said.get("configuration") or said["init_args"]["configuration"]
        trainer, axes = said["trainer_name"], said["inference_allowed_mirroring_axes"]
        states = [torch.load(file, map_location="cpu", weights_only=True) for file in arguments.weights]
    else:
        read = [read_checkpoint(arguments.model / f"fold_{fold}" / arguments.checkpoint) for fold in arguments.folds]
        trainer, configuration, axes = read[0].trainer, read[0].configuration, read[0].mirroring_axes
        states = [dict(each.weights) for each in read]
    facts = {
        "trainer_name": trainer,
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": axes,
    }
    return facts, states


def _once_each(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out the second name of tensors that a network has under two, as nnU-Net's blocks do."""
    kept: dict[tuple[int, torch.Size], str] = {}
    for name in sorted(state, key=lambda name: (".all_modules." in name, name)):
        kept.setdefault((state[name].data_ptr(), state[name].shape), name)
    return {name: state[name] for name in sorted(kept.values())}


def _move_threshold(tensors: dict[str, torch.Tensor], threshold: float) -> None:
    last = max(
        (name for name in tensors if name.startswith("decoder.seg_layers.")), key=lambda name: int(name.split(".")[2])
    )
    bias = tensors[f"{last.rpartition('.')[0]}.bias"]
    if len(bias) != 2:
        raise SystemExit(f"{len(bias)} outputs; a threshold can be moved for background and WMH alone")
    bias[WMH] += math.log((1 - threshold) / threshold)


if __name__ == "__main__":
    main()
