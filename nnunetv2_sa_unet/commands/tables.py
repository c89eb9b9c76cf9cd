"""``nnUNetv2_sa_unet tables``: the paper's tables from trained models or from folders of predictions."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.commands.ablate import check_folds, fold_numbers
from nnunetv2_sa_unet.commands.arguments import at_least
from nnunetv2_sa_unet.commands.evaluate import print_remarks
from nnunetv2_sa_unet.datasets import dataset_name, required_folder
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import make_writable

if TYPE_CHECKING:
    from nnunetv2_sa_unet.scores.pairs import Pair
    from nnunetv2_sa_unet.study.formats import Table
    from nnunetv2_sa_unet.study.members import Member

__all__ = ["add_parser", "run"]

_BASELINE = "nnUNetTrainerSAUNet"
_OF_CROSS_VALIDATION = {"configuration": "-c", "plans": "-p", "folds": "--folds", "variants": "--variants"}


@dataclass(frozen=True)
class _Input:
    """What is to be scored.

    Attributes:
        models: the pairs by the model's name; the same cases for each.
        source: the cases, in words.
        output: where to write unless the user says.
        observers: the folder of second readings, if there is one.
    """

    models: Mapping[str, Sequence[Pair]]
    source: str
    output: Path
    observers: Path | None


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command's words."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "tables",
        help="the paper's tables of your models, with statistics, as Markdown, CSV, LaTeX and a figure",
        description="Score models with the metrics of the WMH challenge and write the paper's tables 1 (ablations), 2 "
        "(rivals) and 3 (scanners) with what the paper and the leaderboard report beside them, paired differences to "
        "one of the models, what human observers reach where there are second readings, and a figure. Models are those "
        "that nnU-Net has cross-validated, or folders of predictions with --predictions.",
    )
    parser.add_argument("-d", dest="dataset", metavar="ID", help="number or name of the data set")
    trained = parser.add_argument_group("models that nnU-Net has cross-validated")
    trained.add_argument("-c", dest="configuration", metavar="NAME", help="(3d_fullres)")
    trained.add_argument("-p", dest="plans", metavar="PLANS", help="plans that were trained (nnUNetPlans)")
    trained.add_argument("--folds", nargs="+", metavar="N", help="numbers or ranges (0-4)")
    trained.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help="trainers, and plans that nnUNetTrainer trained (all: every model of PLANS)",
    )
    predicted = parser.add_argument_group("folders of predictions, for instance of a test set")
    predicted.add_argument(
        "--predictions",
        nargs="+",
        metavar="[NAME=]FOLDER",
        help="one folder a model, named after the folder; a trainer's name sets the paper's figures beside it",
    )
    predicted.add_argument(
        "--references", type=Path, metavar="FOLDER", help="their references (nnUNet_raw/DATASET/labelsTs)"
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help=f"model that the others are compared with ({_BASELINE}, or else the first)"
    )
    parser.add_argument(
        "--observers",
        type=Path,
        metavar="FOLDER",
        help="second readings of the same cases, a folder of labels for each observer (after a cross-validation: "
        "nnUNet_raw/DATASET/observersTr, if there is one)",
    )
    parser.add_argument(
        "--scanners",
        type=Path,
        metavar="CSV",
        help="table with the columns case and scanner (without it: the challenge's scanners in names such as GE3T_100, "
        "or else one group of all cases)",
    )
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="DIR",
        help="where to write (nnUNet_results/DATASET/tables/PLANS__CONFIGURATION; with --predictions: ./tables)",
    )
    parser.add_argument(
        "-np", dest="processes", type=at_least(1), metavar="N", help="number of processes (one a core, at most 8)"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check all files, score all cases of all models, write everything and print the tables."""
    from nnunetv2_sa_unet.images.processes import default_processes
    from nnunetv2_sa_unet.scores.pairs import check_pairs
    from nnunetv2_sa_unet.study.figure import draw_scanners
    from nnunetv2_sa_unet.study.formats import as_markdown
    from nnunetv2_sa_unet.study.observers import observer_pairs
    from nnunetv2_sa_unet.study.tables import (
        ablations,
        cases_by_scanner,
        differences,
        make_models,
        observers,
        rivals,
        scanners,
    )

    given = _predicted(arguments) if arguments.predictions else _cross_validated(arguments)
    baseline_name = _baseline(arguments.baseline, list(given.models))
    readings: dict[str, list[Pair]] = {}
    if given.observers:
        references = {pair.case: pair.reference for pair in next(iter(given.models.values()))}
        readings = observer_pairs(given.observers, references)
        check_pairs([pair for pairs in readings.values() for pair in pairs], f"second readings in {given.observers}")
    cases = [pair.case for pair in next(iter(given.models.values()))]
    groups = cases_by_scanner(cases, _scanners(arguments.scanners, cases) if arguments.scanners else None)
    output = arguments.output or given.output
    make_writable(output)

    scores = _score({**given.models, **readings}, arguments.processes or default_processes())
    models = make_models({name: scores[name] for name in given.models})
    baseline = next(model for model in models if model.name == baseline_name)
    made = [ablations(models, given.source), rivals(models, given.source), scanners(models, groups, given.source)]
    made.append(differences(models, baseline) if len(models) > 1 else None)
    made.append(observers({name: scores[name] for name in readings}, models) if readings else None)
    tables = [table for table in made if table]

    parts = [f"## {table.title} ({table.name}.csv)\n{as_markdown(table)}" for table in tables]
    _write(output, tables, parts)
    _write_cases(output / "cases.csv", scores, groups)
    draw_scanners(output / "scanners.png", models, groups)
    print("\n".join(parts))
    names = ", ".join(f"{table.name}.csv" for table in tables)
    print(f"wrote tables.md, tables.tex, {names}, cases.csv and scanners.png in {output}")
    return 0


def _cross_validated(arguments: argparse.Namespace) -> _Input:
    from nnunetv2_sa_unet.scores.pairs import check_pairs
    from nnunetv2_sa_unet.study.crossvalidation import validation_pairs
    from nnunetv2_sa_unet.study.members import described

    if arguments.dataset is None:
        raise InputError("-d: not given: name the data set, or folders with --predictions and --references")
    if arguments.references:
        raise InputError("--references: belongs to --predictions: a cross-validation has its references already")
    configuration, plans = arguments.configuration or "3d_fullres", arguments.plans or "nnUNetPlans"
    preprocessed_root, results_root = (required_folder(f"nnUNet_{name}") for name in ("preprocessed", "results"))
    dataset = dataset_name(arguments.dataset)
    preprocessed, results = Path(preprocessed_root, dataset), Path(results_root, dataset)
    folds = fold_numbers(arguments.folds or ["0-4"])
    check_folds(folds, preprocessed / "splits_final.json")
    members = _members(results, plans, configuration, arguments.variants or ["all"])
    not_validated = [
        f"{each.name} fold {fold}"
        for each in members
        for fold in folds
        if not (results / each.folder / f"fold_{fold}" / "validation").is_dir()
    ]
    if not_validated:
        raise InputError(
            f"{results}: {', '.join(not_validated)} ({plans}, {configuration}): not validated: train to the end, or "
            "name other folds with --folds or other models with --variants"
        )
    models = {each.name: validation_pairs(preprocessed, results / each.folder, folds) for each in members}
    check_pairs([pair for pairs in models.values() for pair in pairs], f"validation of {', '.join(models)}")
    numbers = ", ".join(map(str, folds))
    trained = described(members, plans, configuration)
    source = f"the validation cases of the cross-validation on {dataset} (folds {numbers}; {trained})"
    output = results / "tables" / f"{plans}__{configuration}"
    return _Input(models, source, output, arguments.observers or _second_readings(dataset))


def _second_readings(dataset: str) -> Path | None:
    """The folder beside the labels of the training cases; nnU-Net's raw data may be on another machine."""
    raw = os.environ.get("nnUNet_raw")
    folder = Path(raw or "", dataset, "observersTr")
    return folder if raw and folder.is_dir() else None


def _members(results: Path, plans: str, configuration: str, words: Sequence[str]) -> list[Member]:
    """The models that are named, or all of these plans, each in the configuration that it is for."""
    from nnunetv2_sa_unet.plans.variants import VARIANTS
    from nnunetv2_sa_unet.study.members import Member, member

    folders = [path.name for path in sorted(results.glob("*__*__*")) if path.is_dir()]
    ending = f"__{plans}__{configuration}"
    trainers = [name.removesuffix(ending) for name in folders if name.endswith(ending)]
    found = {name: Member(name, name, plans, configuration) for name in trainers}
    for each in (member(name, plans, configuration) for name in VARIANTS):
        if each.folder in folders:
            found[each.name] = each
    if list(words) == ["all"]:
        if not found:
            others = f"found {', '.join(folders)}" if folders else "found no model at all"
            raise InputError(f"{results}: no model TRAINER{ending}: {others}: name its plans with -p, configuration -c")
        return list(found.values())
    wanted = {word: found.get(word) or member(word, plans, configuration) for word in words}
    absent = [each.folder for each in wanted.values() if each.folder not in folders]
    if absent:
        raise InputError(
            f"--variants: no model {', '.join(absent)} in {results}: expected all, or of: {', '.join(found) or 'none'}"
        )
    return list(wanted.values())


def _predicted(arguments: argparse.Namespace) -> _Input:
    from nnunetv2_sa_unet.scores.pairs import matched_pairs

    unused = [option for name, option in _OF_CROSS_VALIDATION.items() if getattr(arguments, name) is not None]
    if unused:
        raise InputError(f"{', '.join(unused)}: for cross-validated models only: leave out, or leave out --predictions")
    references = arguments.references
    if references is None:
        if arguments.dataset is None:
            raise InputError("--references: not given: name their folder, or the data set with -d")
        references = Path(required_folder("nnUNet_raw"), dataset_name(arguments.dataset), "labelsTs")
    models: dict[str, Sequence[Pair]] = {}
    for word in arguments.predictions:
        name, folder = _named_folder(word)
        if name in models:
            raise InputError(f"--predictions {word}: a second model {name}: give one of them a name with NAME=FOLDER")
        models[name] = matched_pairs(references, folder)
    # The captions of a publication are no place for the paths of a machine.
    source = f"the cases of {'/'.join(references.resolve().parts[-2:])}"
    return _Input(models, source, Path("tables"), arguments.observers)


def _named_folder(word: str) -> tuple[str, Path]:
    name, equals, folder = word.partition("=")
    # A folder's own name may hold the sign.
    if not equals or Path(word).is_dir():
        return Path(word).resolve().name, Path(word)
    if not name:
        raise InputError(f"--predictions {word}: no name before the =; expected NAME=FOLDER")
    return name, Path(folder)


def _baseline(word: str | None, names: Sequence[str]) -> str:
    if word is None:
        return next((name for name in names if name.partition("__")[0] == _BASELINE), names[0])
    if word not in names:
        raise InputError(f"--baseline: no model {word}: expected one of: {', '.join(names)}")
    return word


def _score(pairs: Mapping[str, Sequence[Pair]], processes: int) -> dict[str, dict[str, Any]]:
    """Score all models in one go, so that processes start once; metrics by the model's name and case."""
    from nnunetv2_sa_unet.scores.scoring import score_pairs

    scored = iter(score_pairs([pair for some in pairs.values() for pair in some], processes, progress=True))
    scores = {}
    for name, some in pairs.items():
        cases = [next(scored) for _ in some]
        print_remarks(cases, f"{name}: ")
        scores[name] = {case.case: case.metrics for case in cases}
    return scores


def _write(output: Path, tables: Sequence[Table], markdown: Sequence[str]) -> None:
    """Write the tables, and remove those of an earlier run that this one does not make."""
    from nnunetv2_sa_unet.files import write_text
    from nnunetv2_sa_unet.study.formats import as_latex, write_csv

    for name in ("table1", "table2", "table3", "differences", "observers"):
        (output / f"{name}.csv").unlink(missing_ok=True)
    for table in tables:
        write_csv(output / f"{table.name}.csv", table)
    needs = "% Needs \\usepackage{booktabs} and \\usepackage{adjustbox}.\n"
    write_text(output / "tables.tex", needs + "\n".join(map(as_latex, tables)))
    figure = "## Every case (cases.csv)\n![by scanner](scanners.png)\n"
    write_text(output / "tables.md", "\n".join([*markdown, figure]))


def _scanners(path: Path, cases: Sequence[str]) -> dict[str, str]:
    """Read the scanner of every case."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            scanners = {row["case"]: row["scanner"] for row in csv.DictReader(stream)}
    except KeyError as error:
        raise InputError(f"{path}: no column {error}; expected a CSV file with the columns case and scanner") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a CSV file with case and scanner") from None
    without = [case for case in cases if not scanners.get(case)]
    if without:
        raise InputError(f"{path}: no scanner for {', '.join(without)}; expected one for every evaluated case")
    return scanners


def _write_cases(path: Path, scores: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> None:
    from dataclasses import astuple

    from nnunetv2_sa_unet.files import write_rows
    from nnunetv2_sa_unet.scores.scoring import COLUMNS

    scanner = {case: site for site, cases in groups.items() for case in cases}
    rows = (
        (name, scanner[case], case, *astuple(metrics))
        for name, cases in scores.items()
        for case, metrics in cases.items()
    )
    write_rows(path, ["model", "scanner", *COLUMNS], rows)
