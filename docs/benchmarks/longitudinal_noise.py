"""How much change ``longitudinal`` finds where there is none: synthetic heads, scanned again in other positions.

    python docs/benchmarks/longitudinal_noise.py OUT --heads 6 --positions 5 -- --disable_tta

A head keeps its lesions; its position, the noise, the bias field and the gain are others at each visit, and each visit
is compared with the next one. What stands behind ``--`` goes to the command. Given again, also with more heads, it goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.commands.main import main as command
from nnunetv2_sa_unet.demo.synthetic import Visit, make_visits
from nnunetv2_sa_unet.longitudinal.noise import lesion_noise_mm3, total_noise_ml

#: Lesion load (ml) of a head, in turn.
LOADS = (4.0, 14.0, 1.5, 30.0)
#: How far a head turns (degrees about each axis) and shifts (mm along each).
DEGREES, MILLIMETRES = 8.0, 8.0
#: Bounds of the groups by the larger of a lesion's two volumes in mm³.
SIZES = (0, 30, 100, 500, 1000, 4000, np.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--positions", type=int, default=5)
    arguments, words = parser.parse_known_args()
    images = arguments.output / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = [row for head in range(arguments.heads) for row in write_head(images, head, arguments.positions)]
    table = images / "pairs.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([("subject", "first", "second"), *rows])
    run = arguments.output / "run"
    status = command(
        [
            "longitudinal",
            "--pairs",
            str(table),
            "-o",
            str(run),
            "--no-report",
            *(word for word in words if word != "--"),
        ]
    )
    print(f"status {status}")
    summarise(run)


def write_head(folder: Path, head: int, positions: int) -> list[tuple[str, str, str]]:
    """Write the visits of a head, unless they are there, and return the rows of its pairs."""
    random = np.random.default_rng((17, head))
    visits = [
        Visit(LOADS[head % len(LOADS)], tuple(turn), tuple(shift))
        for turn, shift in zip(
            random.uniform(-DEGREES, DEGREES, (positions, 3)),
            random.uniform(-MILLIMETRES, MILLIMETRES, (positions, 3)),
            strict=True,
        )
    ]
    names = [f"head{head}_{number}.nii.gz" for number in range(positions)]
    if not all((folder / name).exists() for name in names):
        for name, case in zip(names, make_visits(1000 + head, visits), strict=True):
            SimpleITK.WriteImage(case.image, str(folder / name))
    return [(f"head{head}_{n}-{n + 1}", names[n], names[n + 1]) for n in range(positions - 1)]


def summarise(run: Path) -> None:
    """Print the changes of all heads, and of all lesions by their size, and how many are beyond the limits of noise."""
    with (run / "changes.csv").open(newline="") as stream:
        pairs = list(csv.DictReader(stream))
    columns = ("pair", "first ml", "second ml", "change ml", "share of the larger", "lesions", "of these at one visit")
    print(f"\n| {' | '.join(columns)} |\n" + "| --- " * len(columns) + "|")
    beyond = 0
    for pair in pairs:
        if pair["status"] == "failed":
            print(f"| {pair['pair']} | failed: {pair['message']} |")
            continue
        first, second = float(pair["first_ml"]), float(pair["second_ml"])
        found = lesions_of(run, pair["pair"])
        alone = sum(min(lesion) == 0 for lesion in found)
        share = 100 * abs(second - first) / max(first, second)
        beyond += abs(second - first) > total_noise_ml(max(first, second))
        figures = (f"{first:.2f}", f"{second:.2f}", f"{second - first:+.2f}", f"{share:.1f} %", len(found), alone)
        print(f"| {pair['pair']} | {' | '.join(map(str, figures))} |")
    print(f"\nbeyond the limit: {beyond} of {len(pairs)} pairs")
    lesions = [lesion for pair in pairs if pair["status"] != "failed" for lesion in lesions_of(run, pair["pair"])]
    columns = (
        "larger volume, mm³", "lesions", "at one visit", "change, mm³: median", "95 %", "largest",
        "share, %: median", "95 %", "largest", "beyond the limit",
    )  # fmt: skip
    print(f"\n| {' | '.join(columns)} |\n" + "| --- " * len(columns) + "|")
    for low, high in itertools.pairwise(SIZES):
        inside = np.array([lesion for lesion in lesions if low <= max(lesion) < high])
        if not len(inside):
            continue
        change, larger = np.abs(inside[:, 1] - inside[:, 0]), inside.max(axis=1)
        figures = [*np.percentile(change, (50, 95, 100)), *(100 * np.percentile(change / larger, (50, 95, 100)))]
        alone = int((inside.min(axis=1) == 0).sum())
        beyond = sum(abs(second - first) > lesion_noise_mm3(max(first, second)) for first, second in inside)
        told = (len(inside), alone, *(f"{figure:.0f}" for figure in figures), beyond)
        print(f"| {f'{low:g} to {high:g}' if high < np.inf else f'{low:g} and more'} | {' | '.join(map(str, told))} |")


def lesions_of(run: Path, pair: str) -> list[tuple[float, float]]:
    """The volumes (mm³) of each lesion of a pair at both visits."""
    with (run / "changes" / f"{pair}_lesions.csv").open(newline="") as stream:
        return [(float(row["first_mm3"]), float(row["second_mm3"])) for row in csv.DictReader(stream)]


if __name__ == "__main__":
    main()
