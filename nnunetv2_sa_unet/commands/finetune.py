"""``nnUNetv2_sa_unet finetune``: go on training a model on a site's own few cases, with nnU-Net's commands."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.commands.arguments import add_device, add_trust
from nnunetv2_sa_unet.commands.plan import load_json, load_override, plans_name, write_if_allowed
from nnunetv2_sa_unet.datasets import dataset_name, dataset_number, required_folder
from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.programs import executable
from nnunetv2_sa_unet.weights.registry import DEFAULT, MODELS, find_model

__all__ = ["PRETRAINED_KEY", "add_parser", "run"]

OVERRIDE = "finetune"
#: Where in the plans the model stands whose weights the training began with.
PRETRAINED_KEY = "nnunetv2_sa_unet_pretrained"
#: Of nnU-Net's cross-validation, for which it wants at least as many cases.
_FOLDS = 5
#: A patch so many times as long as the images is mostly padding.
_MUCH_LONGER = 2


@dataclass(frozen=True)
class Source:
    """The model to begin with.

    Attributes:
        name: of the model in the box, or the core of its plans' name.
        plans: its plans.json.
        configuration: that it was trained in.
        trainer: that trained it, one of ours.
        n_channels: of its input.
        weights: by every name that the network has for them.
        sha256: of the file with the weights.
    """

    name: str
    plans: dict[str, Any]
    configuration: str
    trainer: str
    n_channels: int
    weights: Mapping[str, Any]
    sha256: str


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``finetune`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "finetune",
        help="go on training a model on your own few cases",
        description="Go on training a trained model on a data set in nnU-Net's raw format: move its plans, preprocess, "
        "and train with nnUNetv2_train -pretrained_weights. Each of nnU-Net's commands is printed as it runs. After a "
        "kill, run the same command again: what is done is kept, and the training goes on from its last epoch.",
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="number or name of the data set")
    parser.add_argument(
        "--from",
        dest="source",
        default=DEFAULT,
        metavar="NAME_OR_FOLDER",
        help=f"model in the box ({', '.join(MODELS)}) or nnU-Net's model folder ({DEFAULT})",
    )
    parser.add_argument(
        "-f",
        dest="fold",
        default="all",
        metavar="FOLD",
        help=f"all: train on every case; 0 to {_FOLDS - 1}: hold out a fifth of them to see what it reaches (all)",
    )
    parser.add_argument(
        "--override",
        nargs="+",
        default=[],
        metavar="NAME_OR_FILE",
        help="change the short schedule, as in plan: longer, smaller patches …",
    )
    add_device(parser, "train")
    parser.add_argument("--force", action="store_true", help="replace existing plans that differ")
    add_trust(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do what is not done yet."""
    from nnunetv2.configuration import default_num_processes

    from nnunetv2_sa_unet.plans.configurations import override_training

    dataset = dataset_name(arguments.dataset)
    raw, preprocessed, results = (
        Path(required_folder(f"nnUNet_{name}")) / dataset for name in ("raw", "preprocessed", "results")
    )
    description = load_json(
        raw / "dataset.json", "put the data set there in nnU-Net's raw format", labels=dict, file_ending=str
    )
    cases = _training_cases(raw, description)
    _check_fold(arguments.fold, cases, [preprocessed, raw])
    device = choose_device(arguments.device)
    source = _load_source(arguments)
    _check_channels(source, description, raw)
    overrides = [load_override(word) for word in (OVERRIDE, *arguments.override)]
    retrained = override_training(source.plans, overrides, source.configuration)

    name = plans_name(f"nnUNet{source.name}Plans", [OVERRIDE, *arguments.override])
    preprocessed.mkdir(parents=True, exist_ok=True)
    _copy_description(raw, preprocessed)
    number = str(dataset_number(dataset))
    _fingerprint(number, preprocessed, len(cases))
    plans = _moved(retrained, dataset, name)
    plans[PRETRAINED_KEY] = {"model": source.name, "sha256": source.sha256}
    configuration = plans["configurations"][source.configuration]
    write_if_allowed(preprocessed / f"{name}.json", plans, dataset, arguments.force)
    print(f"plans:   {preprocessed / f'{name}.json'}, those of {source.name} for {dataset}")
    _compare_patch(configuration, plans, preprocessed)

    data = preprocessed / configuration["data_identifier"]
    # nnU-Net writes a case's properties last.
    if len(list(data.glob("*.pkl"))) != len(cases):
        # What the other commands take from nnUNet_def_n_proc by themselves.
        words = ("-d", number, "-plans_name", name, "-c", source.configuration, "-np", str(default_num_processes))
        _call("nnUNetv2_preprocess", *words)
    model = results / f"{source.trainer}__{name}__{source.configuration}"
    _train(source, number, name, model / f"fold_{arguments.fold}", device.name)
    print(
        f"\nmodel:   {model}\n"
        f"Segment: nnUNetv2_sa_unet segment FLAIR -o OUT -m {shlex.quote(str(model))} -f {arguments.fold}"
    )
    if arguments.fold == "all":
        print("The Dice that nnU-Net printed is that of cases it trained on; -f 0 holds out a fifth of them.")
    return 0


def _training_cases(raw: Path, description: Mapping[str, Any]) -> list[str]:
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    try:
        cases = sorted(get_filenames_of_train_images_and_targets(str(raw), dict(description)))
    except (KeyError, OSError) as error:
        raise InputError(f"{raw}: no data set in nnU-Net's raw format: {error}") from None
    if not cases:
        raise InputError(f"{raw / 'imagesTr'}: found no images that end in {description['file_ending']}")
    return cases


def _check_fold(fold: str, cases: Sequence[str], folders: Sequence[Path]) -> None:
    if fold == "all":
        return
    if not fold.isdecimal():
        raise InputError(f"-f: found {fold}, expected all or the number of a fold")
    splits = [path for path in (folder / "splits_final.json" for folder in folders) if path.is_file()]
    folds = len(load_json(splits[0], "remove it")) if splits else _FOLDS
    if not splits and len(cases) < _FOLDS:
        raise InputError(
            f"-f {fold}: found {len(cases)} cases, but nnU-Net makes {_FOLDS} folds of at least {_FOLDS}: train on all "
            f"with -f all, or say what to hold out in {folders[-1] / 'splits_final.json'} "
            '([{"train": [names], "val": [names]}])'
        )
    if int(fold) >= folds:
        raise InputError(f"-f {fold}: there are {folds} folds, 0 to {folds - 1}")


def _load_source(arguments: argparse.Namespace) -> Source:
    folder, checkpoint = find_model(arguments.source, None)
    from nnunetv2_sa_unet.nnunet.loading import all_folds, load_model

    fold = all_folds(folder, checkpoint)[0]
    loaded = load_model(folder, [fold], checkpoint, trust=arguments.trust_model)
    predictor = loaded.predictor
    if predictor.trainer_name not in VARIANTS:
        raise InputError(
            f"{folder}: trained by {predictor.trainer_name}, expected a trainer of this package: "
            f"{', '.join(VARIANTS)}: only they read the schedule of the fine-tuning"
        )
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    core = plans["plans_name"].removeprefix("nnUNet").removeprefix("SAUNet").removesuffix("Plans")
    return Source(
        arguments.source if arguments.source in MODELS else core,
        plans,
        loaded.configuration,
        predictor.trainer_name,
        loaded.n_channels,
        predictor.list_of_parameters[0],
        sha256([folder / f"fold_{fold}" / checkpoint]),
    )


def _check_channels(source: Source, description: Mapping[str, Any], raw: Path) -> None:
    names = description.get("channel_names", {})
    if len(names) != source.n_channels:
        raise InputError(
            f"{raw / 'dataset.json'}: channel_names: found {len(names)} ({', '.join(names.values())}), but the input "
            f"of {source.name} has {source.n_channels}: make a data set of the same channels, or name another model "
            "with --from"
        )


def _copy_description(raw: Path, preprocessed: Path) -> None:
    """Copy what nnU-Net's planner would have, but splits that are there stay."""
    shutil.copyfile(raw / "dataset.json", preprocessed / "dataset.json")
    if (raw / "splits_final.json").is_file() and not (preprocessed / "splits_final.json").exists():
        shutil.copyfile(raw / "splits_final.json", preprocessed / "splits_final.json")


def _fingerprint(number: str, preprocessed: Path, n_cases: int) -> None:
    path = preprocessed / "dataset_fingerprint.json"
    if not path.exists() or len(load_json(path, "remove it", spacings=list)["spacings"]) != n_cases:
        _call("nnUNetv2_extract_fingerprint", "-d", number, "--clean", "--verify_dataset_integrity")


def _moved(models: dict[str, Any], dataset: str, name: str) -> dict[str, Any]:
    """A model's plans for another data set.

    nnU-Net moves plans between two preprocessed data sets, and the model's may be nowhere near: both get a folder that
    lasts as long as the move.
    """
    origin, old_name = models["dataset_name"], models["plans_name"]
    with tempfile.TemporaryDirectory() as folder:
        for each in (origin, dataset):
            Path(folder, each).mkdir(exist_ok=True)
        Path(folder, origin, f"{old_name}.json").write_text(json.dumps(models), encoding="utf-8")
        words = ("-s", origin, "-t", dataset, "-sp", old_name, "-tp", name)
        _call("nnUNetv2_move_plans_between_datasets", *words, variables={"nnUNet_preprocessed": folder})
        plans: dict[str, Any] = load_json(Path(folder, dataset, f"{name}.json"), "nnU-Net should have written it")
    plans["image_reader_writer"] = _reader(models["image_reader_writer"], plans["image_reader_writer"], dataset)
    return plans


def _reader(models: str, datas: str, dataset: str) -> str:
    """The model's reader if it can read the data: it decides in which orientation the network sees them."""
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    description = load_json(Path(required_folder("nnUNet_raw")) / dataset / "dataset.json", "")
    readable = recursive_find_reader_writer_by_name(models).supported_file_endings
    return models if description["file_ending"].lower() in readable else datas


def _compare_patch(configuration: Mapping[str, Any], plans: Mapping[str, Any], preprocessed: Path) -> None:
    """Say so if most of a patch would be padding."""
    import numpy as np

    fingerprint = load_json(
        preprocessed / "dataset_fingerprint.json", "remove it", shapes_after_crop=list, spacings=list
    )
    shapes, spacings = (np.array(fingerprint[key], float) for key in ("shapes_after_crop", "spacings"))
    patch = np.array(configuration["patch_size"])
    spacing = np.array(configuration["spacing"])
    axes = plans["transpose_forward"][-len(patch) :]
    size = np.median(shapes[:, axes] * spacings[:, axes] / spacing, axis=0).round().astype(int)
    print(
        f"patch:   {_times(patch)}, batch {configuration['batch_size']}; images {_times(size)} at the model's spacing"
    )
    if (patch > _MUCH_LONGER * size).any():
        print("note:    most of a patch is padding: set a smaller patch_size with --override")


def _times(sizes: Any) -> str:
    return "×".join(map(str, sizes))


def _train(source: Source, number: str, name: str, fold_folder: Path, device: str) -> None:
    """Start, continue or leave the training, whatever the folder of the fold says."""
    import torch

    from nnunetv2_sa_unet.nnunet.model_folder import has_checkpoint

    if (fold_folder / "checkpoint_final.pth").exists() and (fold_folder / "validation" / "summary.json").exists():
        print(f"{fold_folder}: trained and validated already; remove it to train anew")
        return
    words = [
        *("nnUNetv2_train", number, source.configuration, fold_folder.name.removeprefix("fold_")),
        *("-tr", source.trainer, "-p", name, "-device", device),
    ]
    if has_checkpoint(fold_folder):
        _call(*words, "--c")
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, f"{source.name}.pth")
        torch.save({"network_weights": dict(source.weights)}, weights)
        _call(*words, "-pretrained_weights", str(weights))


def _call(program: str, *words: str, variables: Mapping[str, str] | None = None) -> None:
    """Run a command of nnU-Net as a user would, and stop where it stops."""
    print(f"\n$ {shlex.join((program, *words))}", flush=True)
    status = subprocess.run([*executable(program), *words], env=os.environ | (variables or {}), check=False).returncode
    if status != 0:
        raise InputError(f"{program} ended with status {status}; run the same command again to go on from here")
