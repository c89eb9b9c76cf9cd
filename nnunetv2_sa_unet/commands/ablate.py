"""``nnUNetv2_sa_unet ablate``: train several variants, and set them beside the paper's tables."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.commands.arguments import add_device, at_least
from nnunetv2_sa_unet.commands.plan import load_json, load_override, load_plans, plans_name, write_plans
from nnunetv2_sa_unet.datasets import FOLDERS, dataset_name, required_folder
from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.discovery import EXTERNAL_TRAINERS
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json
from nnunetv2_sa_unet.plans.variants import VARIANTS

if TYPE_CHECKING:
    from nnunetv2_sa_unet.study.ablation import Study
    from nnunetv2_sa_unet.study.members import Member

__all__ = ["add_parser", "check_folds", "fold_numbers", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command's words."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "ablate",
        help="train and score several variants, and print the paper's tables of them",
        description="An ablation study as a Snakemake workflow: plan, train and validate every variant on every fold, "
        "score the validation cases with the metrics of the WMH challenge, and print the tables that the command "
        "tables makes. After a kill, run the same command again: finished folds are kept, others go on from their last "
        "checkpoint.",
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="number or name of the data set")
    parser.add_argument("-c", dest="configuration", default="3d_fullres", metavar="NAME", help="(3d_fullres)")
    parser.add_argument("-p", dest="base", default="nnUNetPlans", metavar="PLANS", help="plans to train (nnUNetPlans)")
    parser.add_argument(
        "--override", nargs="+", default=[], metavar="NAME_OR_FILE", help="train -p with overrides, as in plan"
    )
    parser.add_argument("--folds", nargs="+", default=["0-4"], metavar="N", help="numbers or ranges (0-4)")
    parser.add_argument(
        "--variants",
        nargs="+",
        default=["all"],
        metavar="NAME",
        help=f"all, or of: {', '.join(VARIANTS)}; and plans, such as nnUNetResEncUNetMPlans, for nnU-Net's own trainer",
    )
    add_device(parser, "train")
    parser.add_argument(
        "--jobs", type=at_least(1), metavar="N", help="jobs at a time (one a GPU; one without a GPU; the profile's)"
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="profile of Snakemake, for SLURM and other engines: it assigns the GPUs"
    )
    parser.add_argument("--dry-run", action="store_true", help="only list the jobs")
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="DIR",
        help="where to write (nnUNet_results/DATASET/ablation/PLANS__CONFIGURATION)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check everything that can be known before hours of training, run the workflow, print the tables."""
    study, data = _study(arguments)
    if importlib.util.find_spec("snakemake") is None:
        raise InputError(
            'Snakemake is not installed: pip install "nnunetv2-sa-unet[ablate]" (Snakemake needs Python 3.11 or newer)'
        )
    output = Path(study.output)
    with ExitStack() as held:
        if arguments.dry_run:
            # Nothing is to be left behind; Snakemake keeps notes in the folder that it works in.
            scratch = Path(held.enter_context(tempfile.TemporaryDirectory()))
            folder, configuration, lock = output if output.is_dir() else scratch, scratch / "study.json", None
        else:
            folder, configuration, lock = output, output / "study.json", held.enter_context(_alone(output))
        _prepare(arguments, study, data)
        write_json(configuration, asdict(study))
        words = _words(arguments, study, folder, configuration)
        if lock and any(folder.glob(".snakemake/locks/*")):
            # Nobody is at work here: a kill has left it.
            _snakemake([*words, "--unlock"], lock)
        status = _snakemake(words, lock)
    if arguments.dry_run:
        return status
    if status:
        print(
            "The study is not finished. Run the same command again: finished folds are kept, others go on from their "
            f"last checkpoint. What nnU-Net printed: {output / 'logs'}",
            file=sys.stderr,
        )
        return status
    tables = output / "tables.md"
    print(f"\n{tables.read_text(encoding='utf-8')}\nThe tables, and the files that belong to them: {tables}")
    return 0


def _prepare(arguments: argparse.Namespace, study: Study, data: Path) -> None:
    """Write the plans and the split that all trainings share: two that start at once would both write the latter."""
    from nnunetv2_sa_unet.study.crossvalidation import draw_folds

    splits = Path(study.splits_file)
    if arguments.dry_run:
        if arguments.override:
            overrides = " ".join(arguments.override)
            print(f"First: nnUNetv2_sa_unet plan -d {study.number} -p {arguments.base} --override {overrides}")
        if not splits.is_file():
            print(f"First: split the cases into folds: {splits}")
        return
    if arguments.override:
        # All configurations, and nothing that is there already with another content.
        words = {"gpu_memory": None, "configurations": None, "force": False}
        write_plans(
            argparse.Namespace(dataset=study.dataset, base=arguments.base, override=arguments.override, **words)
        )
    if not splits.is_file():
        write_json(splits, draw_folds(data))


def _study(arguments: argparse.Namespace) -> tuple[Study, Path]:
    """The study, and the folder of the preprocessed cases."""
    from nnunetv2_sa_unet.study.ablation import Study
    from nnunetv2_sa_unet.study.crossvalidation import draw_folds
    from nnunetv2_sa_unet.study.members import member

    folds = fold_numbers(arguments.folds)
    preprocessed_root, results_root = (required_folder(f"nnUNet_{name}") for name in ("preprocessed", "results"))
    dataset = dataset_name(arguments.dataset)
    preprocessed, results = (Path(root, dataset).absolute() for root in (preprocessed_root, results_root))
    for word in arguments.override:
        load_override(word)
    variants = _variants(arguments.variants, preprocessed)
    plans = plans_name(arguments.base, arguments.override) if arguments.override else arguments.base
    members = [member(name, plans, arguments.configuration) for name in variants]
    data = _data(preprocessed, members, plans, arguments.base)
    if arguments.override and any(each.plans != plans for each in members):
        print("Overrides are not for nnU-Net's own trainer, which trains its plans with nnU-Net's recipe")
    check_folds(folds, preprocessed / "splits_final.json")
    device = _device(arguments)
    if not (preprocessed / "splits_final.json").is_file():
        draw_folds(data)
    model = results / f"{plans}__{arguments.configuration}"
    for path in (preprocessed, model):
        if re.search("[{}]", str(path)):
            raise InputError(f"{path}: expected no braces, which are wildcards to Snakemake: rename the folder")
    study = Study(
        dataset=dataset,
        configuration=arguments.configuration,
        plans=plans,
        variants=variants,
        folds=folds,
        device=device,
        gpus=[] if arguments.profile else _gpus(device, arguments.jobs),
        preprocessed=str(preprocessed),
        results=str(results),
        output=str((arguments.output or results / "ablation" / f"{plans}__{arguments.configuration}").absolute()),
    )
    return study, data


def _data(preprocessed: Path, members: Sequence[Member], plans: str, base: str) -> Path:
    """Check that nnU-Net has preprocessed what the members train on, and return one of the folders."""
    from nnunetv2_sa_unet.plans.configurations import resolve

    needed: dict[str, list[str]] = {}
    for each in members:
        needed.setdefault(base if each.plans == plans else each.plans, []).append(each.configuration)
    folders: list[Path] = []
    for name, configurations in needed.items():
        path = preprocessed / f"{name}.json"
        content = load_plans(path, "run nnUNetv2_plan_and_preprocess first, or name other plans with -p")
        for configuration in dict.fromkeys(configurations):
            try:
                folders.append(preprocessed / str(resolve(content, configuration)["data_identifier"]))
            except (InputError, KeyError) as error:
                raise InputError(f"{path}: configurations.{configuration}: {error}") from None
            for folder in (folders[-1], preprocessed / "gt_segmentations"):
                if not folder.is_dir():
                    raise InputError(
                        f"{folder}: no such folder: run nnUNetv2_preprocess -d {preprocessed.name} -plans_name {name} "
                        f"-c {' '.join(dict.fromkeys(configurations))}"
                    )
    return folders[0]


def _variants(words: Sequence[str], preprocessed: Path) -> list[str]:
    """Read the words of ``--variants``: ``all``, trainers of this package, and plans for nnU-Net's own trainer.

    Raises:
        InputError: a word is neither.
    """
    names: list[str] = []
    unknown = []
    for word in words:
        is_plans = word.endswith("Plans") and (preprocessed / f"{word}.json").is_file()
        if word == "all":
            names += VARIANTS
        elif word in VARIANTS or is_plans:
            names.append(word)
        else:
            unknown.append(word)
    if unknown:
        raise InputError(
            f"--variants: no variant {', '.join(unknown)}: expected all, or of: {', '.join(VARIANTS)}; or plans in "
            f"{preprocessed} for nnU-Net's own nnUNetTrainer"
        )
    return list(dict.fromkeys(names))


def fold_numbers(words: Sequence[str]) -> list[int]:
    """Read the words of ``--folds``, numbers and ranges, in rising order.

    Raises:
        InputError: a word is neither.
    """
    folds: set[int] = set()
    for word in words:
        first, dash, last = word.partition("-")
        ends = [first, last] if dash else [first, first]
        # Nobody has that many folds, and a slip of the finger is not counted to.
        if not all(re.fullmatch("[0-9]{1,3}", end) for end in ends) or int(ends[0]) > int(ends[1]):
            raise InputError(f"--folds: found {word}, expected numbers or ranges such as 0-4 or 0 2 4")
        folds.update(range(int(ends[0]), int(ends[1]) + 1))
    return sorted(folds)


def check_folds(folds: Sequence[int], splits_file: Path) -> None:
    """Refuse folds for which nnU-Net would draw cases at random, which overlap with other folds'.

    Raises:
        InputError: the split has no such fold.
    """
    from nnunetv2_sa_unet.study.crossvalidation import NNUNETS_FOLDS

    n_folds = NNUNETS_FOLDS
    if splits_file.is_file():
        splits = load_json(splits_file, "remove it, and nnU-Net makes it anew")
        if not isinstance(splits, list):
            raise InputError(f"{splits_file}: found no list of folds: remove it, and nnU-Net makes it anew")
        n_folds = len(splits)
    if folds[-1] >= n_folds:
        raise InputError(f"--folds: found {folds[-1]}, but there are {n_folds} folds, from 0 ({splits_file})")


def _device(arguments: argparse.Namespace) -> str:
    """Where the jobs train: on this machine what works; a cluster's machines cannot be asked from here."""
    if arguments.profile:
        return "cuda" if arguments.device == "auto" else str(arguments.device)
    if arguments.dry_run and arguments.device != "auto":
        return str(arguments.device)
    device = choose_device(arguments.device)
    if device.reason:
        print(f"{device.reason}: hours for each fold, unless the plans are as short as the override quick")
    return device.name


def _gpus(device: str, jobs: int | None) -> list[str]:
    """The GPU of every job that may run at a time; none for other devices."""
    if device != "cuda":
        return []
    import torch

    n_gpus = torch.cuda.device_count()
    if n_gpus == 0:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:n_gpus] if visible else [str(index) for index in range(n_gpus)]
    return [names[job % n_gpus].strip() for job in range(jobs or n_gpus)]


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Hold the study's folder for this process and the Snakemake that it starts, however they end.

    Snakemake's own lock outlives a kill, and does not say whether whoever made it is still at work.

    Yields:
        the descriptor that a process inherits which is to hold the folder as well.
    """
    import fcntl  # Snakemake runs on systems that have it, the other commands on others too.

    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / "study.lock").open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror}): choose a folder with -o") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another ablate is at work there: wait for it, or choose a folder with -o"
            ) from None
        yield stream.fileno()


def _words(arguments: argparse.Namespace, study: Study, folder: Path, configuration: Path) -> list[str]:
    snakefile = resources.files("nnunetv2_sa_unet.study") / "Snakefile"
    words = ["--snakefile", str(snakefile), "--configfile", str(configuration), "--directory", str(folder)]
    # A job that fails does not stop the others, and one that was killed is run again. Another version of this package
    # is no reason to run a job again; other folds are.
    words += ["--rerun-incomplete", "--keep-going", "--rerun-triggers", "mtime", "input"]
    if arguments.profile:
        words += ["--profile", arguments.profile]
        words += ["--jobs", str(arguments.jobs)] if arguments.jobs else []
    else:
        words += ["--cores", str(arguments.jobs or len(study.gpus) or 1)]
    return [*words, "--dry-run"] if arguments.dry_run else words


def _snakemake(words: Sequence[str], lock: int | None) -> int:
    """Run Snakemake in this process group, so that a signal to the group reaches every job.

    Args:
        words: its command line.
        lock: see :func:`_alone`.
    """
    command, held = [sys.executable, "-m", "snakemake", *words], [] if lock is None else [lock]
    sys.stdout.flush()
    with subprocess.Popen(command, env=_environment(), pass_fds=held) as process:
        # Ctrl-C reaches Snakemake from the terminal; a signal to this process alone is handed on.
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
        terminated = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, interrupted)
            signal.signal(signal.SIGTERM, terminated)


def _environment() -> dict[str, str]:
    """That of this process for Snakemake and its jobs, which work in another folder and import nothing from there."""
    environment = dict(os.environ, PYTHONSAFEPATH="1")
    environment |= {name: os.path.abspath(environment[name]) for name in FOLDERS if environment.get(name)}
    trainers = [os.path.abspath(path) for path in environment.get(EXTERNAL_TRAINERS, "").split(os.pathsep) if path]
    return environment | ({EXTERNAL_TRAINERS: os.pathsep.join(trainers)} if trainers else {})
