"""``nnUNetv2_sa_unet plan``: plans sized for a GPU, or with overrides, beside nnU-Net's own."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.datasets import dataset_name, dataset_number, required_folder
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json

if TYPE_CHECKING:
    from nnunetv2_sa_unet.plans.overrides import Override

__all__ = [
    "add_parser", "load_json", "load_override", "load_plans", "plans_name", "run", "write_if_allowed", "write_plans",
]  # fmt: skip

_JSON_KINDS: dict[type, str] = {dict: "mapping", list: "list", str: "text"}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command's words."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plan",
        help="write SA-UNet plans beside nnU-Net's: sized for a GPU, with overrides (a short run, other widths …)",
        description="Write SA-UNet plans. Without --gpu-memory they are plans that nnU-Net made, rewritten; with it, "
        "patch and batch are planned anew. Overrides set values in either. At least one of the two is needed.",
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="number or name of the data set")
    parser.add_argument(
        "--gpu-memory",
        type=float,
        metavar="GB",
        help="choose patch, batch and depth so that training SA-UNet fits a GPU of this memory",
    )
    parser.add_argument(
        "--override",
        nargs="+",
        default=[],
        metavar="NAME_OR_FILE",
        help=f"shipped override ({', '.join(_shipped())}) or JSON file; of several, the later wins key by key",
    )
    parser.add_argument("-p", dest="base", metavar="PLANS", help="plans to rewrite (nnUNetPlans)")
    parser.add_argument("-c", dest="configurations", nargs="+", metavar="NAME", help="rewrite only these")
    parser.add_argument("--force", action="store_true", help="replace existing plans that differ")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Write the plans, say what is in them and how to go on."""
    path, plans = write_plans(arguments)
    trainable = "3d_fullres" if "3d_fullres" in plans["configurations"] else next(iter(plans["configurations"]))
    number = dataset_number(path.parent.name)
    print(f"Written: {path}")
    unprepared = _without_data(plans, path.parent)
    if unprepared:
        print(f"Data:    nnUNetv2_preprocess -d {number} -plans_name {plans['plans_name']} -c {' '.join(unprepared)}")
    print(
        f"Train:   nnUNetv2_train {number} {trainable} 0 -tr nnUNetTrainerSAUNet -p {plans['plans_name']}\n"
        "The training block is read by the trainers of this package only; the stock nnUNetTrainer trains the same "
        "network with nnU-Net's own recipe."
    )
    return 0


def write_plans(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Write the plans and say what is in them.

    Returns:
        Where they are, and they themselves.
    """
    if arguments.gpu_memory is None and not arguments.override:
        raise InputError("plan: give --gpu-memory GB, --override NAME_OR_FILE, or both")
    overrides = {name: load_override(name) for name in arguments.override}
    dataset = dataset_name(arguments.dataset)
    folder = Path(required_folder("nnUNet_preprocessed")) / dataset
    plans = _rewritten(arguments, overrides, folder) if arguments.gpu_memory is None else _planned(arguments, overrides)
    for name, override in overrides.items():
        for absent in override.configurations.keys() - plans["configurations"].keys() - {"*"}:
            print(f"note: {name} says something of {absent}, which these plans do not have")
    _compare_classes(overrides, folder)
    path = folder / f"{plans['plans_name']}.json"
    write_if_allowed(path, plans, dataset, arguments.force)
    _describe(plans, arguments.configurations or list(plans["configurations"]))
    return path, plans


def _rewritten(arguments: argparse.Namespace, overrides: Mapping[str, Override], folder: Path) -> dict[str, Any]:
    """Rewrite plans that nnU-Net made."""
    from nnunetv2_sa_unet.plans.configurations import override_plans

    base_name = arguments.base or "nnUNetPlans"
    path = folder / f"{base_name}.json"
    base = load_plans(path, "run nnUNetv2_plan_and_preprocess first, or name other plans with -p")
    try:
        plans = override_plans(base, list(overrides.values()), arguments.configurations)
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not as nnU-Net writes it ({error!r}): run nnUNetv2_plan_and_preprocess") from None
    plans["plans_name"] = plans_name(base_name, arguments.override)
    return plans


def _planned(arguments: argparse.Namespace, overrides: Mapping[str, Override]) -> dict[str, Any]:
    """Plan anew for a GPU."""
    for word, value in (("-p", arguments.base), ("-c", arguments.configurations)):
        if value is not None:
            raise InputError(f"{word}: rewrites existing plans, but --gpu-memory makes new ones: leave out one of them")
    if not arguments.gpu_memory > 0:
        raise InputError(f"--gpu-memory: found {arguments.gpu_memory:g}, expected a number of GB above 0")
    dataset = dataset_name(arguments.dataset)
    fingerprint = Path(required_folder("nnUNet_preprocessed")) / dataset / "dataset_fingerprint.json"
    for needed in (Path(required_folder("nnUNet_raw")) / dataset / "dataset.json", fingerprint):
        load_json(needed, "put the raw data there and run nnUNetv2_plan_and_preprocess first")

    from nnunetv2_sa_unet.nnunet.planner import nnUNetPlannerSAUNet

    planner = nnUNetPlannerSAUNet(
        dataset,
        arguments.gpu_memory,
        plans_name=plans_name("nnUNetPlans", arguments.override),
        overrides=list(overrides.values()),
    )
    # nnU-Net's planner prints every configuration, with its own network, and each attempt at 3d_lowres.
    with redirect_stdout(StringIO()):
        plans = planner.plan_experiment()
    print(f"Activations of a batch in 16 bit, and what a GPU of {arguments.gpu_memory:g} GB has room for:")
    for name, (kept, allowed) in planner.memory().items():
        print(f"{name}: {kept / 1e9:.1f} of {allowed / 1e9:.1f} GB")
        if kept > allowed:
            print(f"warning: {name}: the patch or batch that was given may not fit: see docs/reference/planner.md")
    return plans


def _without_data(plans: Mapping[str, Any], folder: Path) -> list[str]:
    """List the configurations whose data nnU-Net has not preprocessed yet."""
    return [
        name
        for name, configuration in plans["configurations"].items()
        if "data_identifier" in configuration and not (folder / configuration["data_identifier"]).is_dir()
    ]


def plans_name(base: str, overrides: Sequence[str]) -> str:
    """Name the plans after their base and overrides.

    >>> plans_name("nnUNetPlans", ["paper", "my/small_run.json"])
    'nnUNetSAUNetPaperSmallRunPlans'
    >>> plans_name("nnUNetResEncUNetMPlans", ["paper"])
    'nnUNetSAUNetResEncUNetMPaperPlans'

    Raises:
        InputError: a name has characters that the plans' cannot have, or two overrides have the same.
    """
    core = base.removeprefix("nnUNet").removesuffix("Plans")
    names = [_camel_case(Path(override).stem, f"--override {override}") for override in overrides]
    for index, name in enumerate(names):
        if name in names[:index]:
            first = overrides[names.index(name)]
            raise InputError(f"--override {first} {overrides[index]}: both are {name} in the plans' name: rename one")
    return "".join(["nnUNetSAUNet", _camel_case(core, f"-p {base}") if core else "", *names, "Plans"])


def _camel_case(text: str, word: str) -> str:
    """Letters and digits, as nnU-Net's names have them; what else could vanish without a word is refused."""
    if not re.fullmatch(r"[-_. A-Za-z0-9]*[A-Za-z0-9][-_. A-Za-z0-9]*", text):
        raise InputError(
            f"{word}: names the plans: expected only the letters A to Z, digits, blanks and - _ . in the name {text!r}"
        )
    return "".join(part[0].upper() + part[1:] for part in re.findall(r"[A-Za-z0-9]+", text))


def _shipped() -> list[str]:
    folder = resources.files("nnunetv2_sa_unet.plans_overrides")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".json"))


def load_override(name_or_file: str) -> Override:
    """Read and check an override.

    Raises:
        InputError: if it is neither a shipped one nor a file, or something in it is wrong, or if its plans would be
            named as those of a shipped one that says something else.
    """
    from nnunetv2_sa_unet.plans.overrides import parse_override

    def shipped(name: str) -> Override:
        resource = resources.files("nnunetv2_sa_unet.plans_overrides") / f"{name}.json"
        return parse_override(json.loads(resource.read_text(encoding="utf-8")), f"{name}.json")

    if name_or_file in _shipped():
        return shipped(name_or_file)
    hint = f"give a JSON file or one of: {', '.join(_shipped())}"
    override = parse_override(load_json(Path(name_or_file), hint), name_or_file)
    for name in _shipped():
        if plans_name("", [name_or_file]) == plans_name("", [name]) and override != shipped(name):
            raise InputError(f"{name_or_file}: its plans would be named as those of the shipped {name}: rename it")
    return override


def load_json(path: Path, hint: str, **parts: type) -> Any:
    """Read a JSON file.

    Args:
        path: of the file.
        hint: what to do if it cannot be used.
        parts: the entries that are needed of a mapping, and what they are.

    Raises:
        InputError: if it is absent, no JSON or lacks one of the entries; the message ends with the hint.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file: {hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}): {hint}") from None
    for name, kind in parts.items():
        found = content.get(name) if isinstance(content, dict) else None
        if not isinstance(found, kind):
            raise InputError(f"{path}: {name}: found {found}, expected a {_JSON_KINDS[kind]}: {hint}")
    return content


def load_plans(path: Path, hint: str) -> dict[str, Any]:
    """Read nnU-Net's plans; see :func:`load_json`."""
    plans: dict[str, Any] = load_json(path, hint, configurations=dict)
    for name, configuration in plans["configurations"].items():
        if not isinstance(configuration, dict):
            raise InputError(f"{path}: configurations.{name}: found {configuration}, expected a mapping: {hint}")
    return plans


def _compare_classes(overrides: dict[str, Any], folder: Path) -> None:
    """Warn where an override assumes another number of classes than the data set has: labels make the heads."""
    labels = load_json(folder / "dataset.json", "run nnUNetv2_plan_and_preprocess first", labels=dict)["labels"]
    found = len(labels.keys() - {"ignore"})
    for name, override in overrides.items():
        if override.classes not in (None, found):
            print(
                f"warning: {name} assumes {override.classes} classes, {folder / 'dataset.json'} has {found} "
                f"({', '.join(labels)}): the network gets {found}. For {override.classes}, label the data so (the "
                "paper's are background 0, WMH 1, other 2) and run nnUNetv2_plan_and_preprocess again"
            )


def write_if_allowed(path: Path, plans: dict[str, Any], dataset: str, force: bool) -> None:
    """Write the plans unless that would replace others, or those that a trained model was made with."""
    from nnunetv2_sa_unet.nnunet.model_folder import is_trained

    if path.exists():
        if load_json(path, "remove it") == json.loads(json.dumps(plans)):
            return
        models = [
            folder
            for folder in (Path(os.environ.get("nnUNet_results", "")) / dataset).glob(f"*__{path.stem}__*")
            if is_trained(folder)
        ]
        if models:
            raise InputError(
                f"{path}: differs from what would be written, and a model was trained with it ({models[0]}): give the "
                "override file another name, or move the model away"
            )
        if not force:
            raise InputError(f"{path}: differs from what would be written: add --force to replace it")
    write_json(path, plans)


def _describe(plans: dict[str, Any], names: Sequence[str]) -> None:
    from nnunetv2_sa_unet.plans.configurations import resolve

    for name in names:
        configuration = resolve(plans, name)
        network = configuration["architecture"]["arch_kwargs"]
        print(
            f"{name}: patch {'×'.join(map(str, configuration['patch_size']))}, batch {configuration['batch_size']}, "
            f"{network['n_stages']} stages of {', '.join(map(str, network['features_per_stage']))} channels, "
            f"rates {', '.join(map(str, network['rates']))}"
        )
        training = configuration.get("training", {})
        print("  training: " + (", ".join(f"{key} {value}" for key, value in training.items()) or "as nnU-Net's"))
