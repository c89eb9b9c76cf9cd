"""``nnUNetv2_sa_unet tables`` from its words to its files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main

DATASET = "Dataset007_Test"
SA_UNET, UNET = "nnUNetTrainerSAUNet", "nnUNetTrainerUNet3D"
FOLDS = (["GE3T_100", "Utrecht_001"], ["GE3T_101", "Utrecht_002"])
CASES = [*FOLDS[0], *FOLDS[1]]
FILES = ["cases.csv", "differences.csv", "scanners.png", "table1.csv", "table2.csv", "table3.csv", "tables.md",
         "tables.tex"]  # fmt: skip


def write_mask(path: Path, voxels: int, start: int = 0, size: int = 8) -> None:
    """A row of WMH in the middle slice, of voxels of 1×1×3 mm."""
    array = np.zeros((3, 8, size), np.uint8)
    array[1].flat[start : start + voxels] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def preprocessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with references of 8 voxels, as nnU-Net leaves it, and two models validated on two folds."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "preprocessed" / DATASET
    for case in CASES:
        write_mask(folder / "gt_segmentations" / f"{case}.nii.gz", 8)
    (folder / "splits_final.json").write_text(json.dumps([{"train": [], "val": cases} for cases in FOLDS]))
    (folder / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    # 3D SA-UNet finds 8, 6, 6 and 4 of 8 voxels, 3D U-Net 4 in the first three and none in the last.
    for model, found in ((SA_UNET, (8, 6, 6, 4)), (UNET, (4, 4, 4, 0))):
        for case, voxels in zip(CASES, found, strict=True):
            write_mask(prediction(tmp_path, model, case), voxels)
    return folder


def prediction(root: Path, model: str, case: str) -> Path:
    fold = 0 if case in FOLDS[0] else 1
    folder = root / "results" / DATASET / f"{model}__nnUNetPlans__3d_fullres" / f"fold_{fold}" / "validation"
    return folder / f"{case}.nii.gz"


def tables(*words: str) -> int:
    return main(["tables", "-np", "1", *words])


def cross_validated(*words: str) -> int:
    return tables("-d", "7", "--folds", "0-1", *words)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert tables(*words) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1, "one line"
    return message


@pytest.mark.usefixtures("preprocessed")
def test_a_cross_validation_becomes_three_tables_differences_and_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cross_validated() == 0
    output = tmp_path / "results" / DATASET / "tables" / "nnUNetPlans__3d_fullres"
    assert sorted(path.name for path in output.iterdir()) == FILES

    (row,) = read(output / "table1.csv")
    dice = [1, 12 / 14, 12 / 14, 8 / 12]
    assert (row["model"], row["label"], row["cases"]) == (SA_UNET, "3D SA-UNet", "4")
    assert float(row["dice_measured"]) == pytest.approx(np.mean(dice))
    assert float(row["avd_measured"]) == pytest.approx((0 + 0.25 + 0.25 + 0.5) / 4)
    assert (row["dice_paper"], row["avd_paper"], row["f1_paper"]) == ("0.79", "0.174", "0.76")

    rows = read(output / "table2.csv")
    assert [row["label"] for row in rows[:3]] == ["3D U-Net", "3D SA-UNet", "MICCAI Challenge Winner"]
    # Nothing was found in one case: it has no H95, and an AVD of 100 %.
    assert (rows[0]["h95_cases"], float(rows[0]["avd_measured"])) == ("3", pytest.approx((0.5 * 3 + 1) / 4))

    by_scanner = {(row["model"], row["scanner"]): row for row in read(output / "table3.csv")}
    assert float(by_scanner[SA_UNET, "GE3T"]["dice_measured"]) == pytest.approx((1 + 12 / 14) / 2)
    assert float(by_scanner[SA_UNET, "Utrecht"]["dice_measured"]) == pytest.approx((12 / 14 + 8 / 12) / 2)
    assert by_scanner[SA_UNET, "Utrecht"]["dice_paper"] == "0.79"

    differences = {row["metric"]: row for row in read(output / "differences.csv")}
    assert {row["baseline"] for row in differences.values()} == {SA_UNET}
    unet = [8 / 12, 8 / 12, 8 / 12, 0]
    assert float(differences["dice"]["difference"]) == pytest.approx(np.mean(unet) - np.mean(dice))
    # Worse in all four cases: two of sixteen orders, and the smallest of five.
    assert float(differences["dice"]["p"]) == pytest.approx(2 / 16)
    assert float(differences["dice"]["p_holm"]) == pytest.approx(5 * 2 / 16)
    assert (differences["h95"]["cases"], differences["h95"]["left_out"]) == ("3", "Utrecht_002")

    cases = read(output / "cases.csv")
    assert [(row["model"], row["case"]) for row in cases] == [
        (model, case) for model in (SA_UNET, UNET) for case in sorted(CASES)
    ]
    assert [row["scanner"] for row in cases[:2]] == ["GE3T", "GE3T"]
    assert cases[-1]["h95_mm"] == ""

    printed = capsys.readouterr().out
    markdown = (output / "tables.md").read_text(encoding="utf-8")
    assert "3D U-Net: 1 of 4 cases have no H95 and are left out of its mean: Utrecht_002." in markdown
    assert f"cross-validation on {DATASET} (folds 0, 1; nnUNetPlans, 3d_fullres)" in markdown
    for heading in ("## Ablations", "## Paired differences to 3D SA-UNet", "![by scanner](scanners.png)"):
        assert heading in markdown
    assert "## Ablations" in printed
    latex = (output / "tables.tex").read_text(encoding="utf-8")
    assert latex.count(r"\toprule") == latex.count(r"\end{table*}") == 4
    assert r"Utrecht\_002" in latex
    assert matplotlib.image.imread(output / "scanners.png")[..., :3].std() > 0.01


def test_models_of_other_configurations_and_nnunets_plans_enter_the_same_tables(
    preprocessed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results" / DATASET
    for model in ("nnUNetTrainerLi2018__nnUNetPlans__2d", "nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres"):
        shutil.copytree(results / f"{SA_UNET}__nnUNetPlans__3d_fullres", results / model)
    assert cross_validated("-o", "all") == 0
    shown = [row["model"] for row in read(tmp_path / "all" / "table2.csv") if row["cases"]]
    assert shown == [UNET, "nnUNetTrainerLi2018", SA_UNET]
    assert "3d_fullres; in 2d: nnUNetTrainerLi2018)" in (tmp_path / "all" / "tables.md").read_text(encoding="utf-8")

    words = ["--variants", SA_UNET, "nnUNetTrainerLi2018", "nnUNetResEncUNetMPlans"]
    assert cross_validated("-o", "named", *words) == 0
    shown = [row["model"] for row in read(tmp_path / "named" / "table2.csv") if row["cases"]]
    assert shown == ["nnUNetTrainerLi2018", "nnUNetResEncUNetMPlans", SA_UNET]
    capsys.readouterr()
    message = fails(capsys, "-d", "7", "--folds", "0-1", "--variants", "nnUNetResEncUNetLPlans")
    assert "no model nnUNetTrainer__nnUNetResEncUNetLPlans__3d_fullres" in message


def test_the_figures_and_intervals_are_those_of_evaluate(preprocessed: Path, tmp_path: Path) -> None:
    for case in CASES:
        path = tmp_path / "collected" / f"{case}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(prediction(tmp_path, SA_UNET, case).read_bytes())
    assert main(["evaluate", str(preprocessed / "gt_segmentations"), "collected", "-o", "evaluated", "-np", "1"]) == 0
    assert cross_validated("-o", "out") == 0

    expected = json.loads((tmp_path / "evaluated" / "metrics_summary.json").read_text())["metrics"]
    (row,) = read(tmp_path / "out" / "table1.csv")
    for name, key, unit in (("dice", "dice", 1), ("h95", "h95_mm", 1), ("avd", "avd_percent", 0.01)):
        found = [float(row[f"{name}_{kind}"]) for kind in ("measured", "low", "high")]
        assert found == pytest.approx([unit * value for value in (expected[key]["mean"], *expected[key]["interval"])])


@pytest.mark.usefixtures("preprocessed")
def test_variants_folds_baseline_and_folder_can_be_chosen(tmp_path: Path) -> None:
    words = ["-d", DATASET, "-p", "nnUNetPlans", "-c", "3d_fullres", "--variants", UNET, SA_UNET, "--baseline", UNET]
    assert tables(*words, "--folds", "1", "-o", str(tmp_path / "out")) == 0
    assert {row["baseline"] for row in read(tmp_path / "out" / "differences.csv")} == {UNET}
    assert {row["case"] for row in read(tmp_path / "out" / "cases.csv")} == set(FOLDS[1])

    # One model has nothing to be compared with; what an earlier run compared does not stay.
    assert tables("-d", "7", "--folds", "0", "--variants", UNET, "-o", str(tmp_path / "out")) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        name for name in FILES if name not in ("table1.csv", "differences.csv")
    ]


@pytest.mark.usefixtures("preprocessed")
def test_a_table_names_the_scanners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "scanners.csv"
    rows = "".join(f"{case},{'old' if case < 'H' else 'new'}\n" for case in CASES)
    table.write_text(f"\ufeffcase,scanner\n{rows}other,x\n", "utf-8")
    assert cross_validated("--variants", UNET, "-o", "out", "--scanners", str(table)) == 0
    assert [row["scanner"] for row in read(tmp_path / "out" / "table3.csv")] == ["new", "old", "all"]
    assert {row["scanner"] for row in read(tmp_path / "out" / "cases.csv")} == {"new", "old"}

    capsys.readouterr()
    words = ("-d", "7", "--folds", "0-1", "--scanners", str(table))
    table.write_text(f"case,scanner\n{CASES[0]},old\n{CASES[1]},\n")
    message = fails(capsys, *words)
    assert f"{table}: no scanner for GE3T_101, {CASES[1]}, Utrecht_002; expected one for every" in message
    table.write_text("case;scanner\n")
    assert f"{table}: no scanner for GE3T_100" in fails(capsys, *words)
    table.write_text("id,site\na,b\n")
    assert f"{table}: no column 'case'; expected a CSV file with the columns case and scanner" in fails(capsys, *words)
    assert f"{tmp_path}: cannot be read" in fails(capsys, *words[:-1], str(tmp_path))


@pytest.mark.usefixtures("preprocessed")
def test_several_processes_write_the_figures_of_one(tmp_path: Path) -> None:
    assert cross_validated("-o", "one") == 0
    assert main(["tables", "-d", "7", "--folds", "0-1", "-o", "two", "-np", "2"]) == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.usefixtures("preprocessed")
def test_second_readings_beside_the_labels_are_scored_as_well(tmp_path: Path) -> None:
    readings = tmp_path / "raw" / DATASET / "observersTr"
    for case in CASES:
        write_mask(readings / "o3" / f"{case}.nii.gz", 4)
    for case in CASES[1:]:
        write_mask(readings / "o4" / f"{case}.nii.gz", 8, start=4)
    assert cross_validated("-o", "out") == 0

    rows = {row["model"]: row for row in read(tmp_path / "out" / "observers.csv")}
    assert list(rows) == ["o3 against reference", "o4 against reference", "o4 against o3", SA_UNET, UNET]
    assert {row["cases"] for row in rows.values()} == {"3"}
    # o3 marks 4 of the reference's 8 voxels, o4 8 of which 4 are the reference's; none is both o3's and o4's.
    assert [float(rows[f"{pair} against reference"]["dice_measured"]) for pair in ("o3", "o4")] == pytest.approx(
        [8 / 12, 8 / 16]
    )
    assert float(rows["o4 against o3"]["dice_measured"]) == 0
    # AVD is relative to o3's 4 voxels.
    assert float(rows["o4 against o3"]["avd_measured"]) == 1
    assert float(rows[SA_UNET]["dice_measured"]) == pytest.approx((12 / 14 + 12 / 14 + 8 / 12) / 3)
    assert "## Human observers and models on the same cases" in (tmp_path / "out" / "tables.md").read_text("utf-8")
    assert {row["model"] for row in read(tmp_path / "out" / "cases.csv")} == set(rows)


@pytest.mark.usefixtures("preprocessed")
def test_folders_of_predictions_are_scored_against_the_test_labels(tmp_path: Path) -> None:
    for case in CASES:
        write_mask(tmp_path / "raw" / DATASET / "labelsTs" / f"{case}.nii.gz", 8)
        write_mask(tmp_path / "predicted" / SA_UNET / f"{case}.nii.gz", 8)
        write_mask(tmp_path / "predicted" / "a=b" / f"{case}.nii.gz", 4)
    words = [f"predicted/{SA_UNET}", "other=predicted/a=b", "predicted/a=b"]
    assert tables("-d", "7", "--predictions", *words) == 0

    rows = [row for row in read(tmp_path / "tables" / "table2.csv") if row["model"]]
    assert [row["model"] for row in rows] == ["other", "a=b", SA_UNET]
    assert [float(row["dice_measured"]) for row in rows] == pytest.approx([8 / 12, 8 / 12, 1])
    markdown = (tmp_path / "tables" / "tables.md").read_text("utf-8")
    assert f"on the cases of {DATASET}/labelsTs." in markdown


def test_folders_need_no_data_set_of_nnunet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.delenv(f"nnUNet_{name}", raising=False)
    for case in "ab":
        for folder in ("labels", "mine", "readings/o3"):
            write_mask(tmp_path / folder / f"{case}.nii.gz", 8)
    words = ["--predictions", "mine", "--references", "labels", "--observers", "readings", "-o", "out"]
    assert tables(*words) == 0
    assert [row["model"] for row in read(tmp_path / "out" / "observers.csv")] == ["o3 against reference", "mine"]
    assert {row["scanner"] for row in read(tmp_path / "out" / "table3.csv")} == {"all"}


def test_one_case_has_means_and_neither_intervals_nor_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("labels", "mine", "other"):
        write_mask(tmp_path / folder / "a.nii.gz", 4 if folder == "other" else 8)
    assert tables("--predictions", "mine", "other", "--references", "labels", "-o", "out") == 0
    row = next(row for row in read(tmp_path / "out" / "table3.csv") if row["model"] == "other")
    assert (float(row["dice_measured"]), row["dice_low"], row["dice_cases"]) == (pytest.approx(8 / 12), "", "1")
    assert {row["p"] for row in read(tmp_path / "out" / "differences.csv")} == {""}


@pytest.mark.usefixtures("preprocessed")
def test_a_prediction_that_is_missing_or_on_another_grid_is_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction(tmp_path, UNET, "GE3T_100").unlink()
    write_mask(prediction(tmp_path, SA_UNET, "Utrecht_002"), 8, size=9)
    assert cross_validated("-o", "out") == 1
    message = capsys.readouterr().err
    assert f"GE3T_100: no prediction: {prediction(tmp_path, UNET, 'GE3T_100')} does not exist" in message
    assert "Utrecht_002: prediction Utrecht_002.nii.gz is not on the reference's grid" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("preprocessed")
def test_models_that_were_not_validated_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = prediction(tmp_path, UNET, "GE3T_101").parent
    folder.rename(folder.parent / "elsewhere")
    message = fails(capsys, "-d", "7", "--folds", "0-1")
    assert f"{UNET} fold 1 (nnUNetPlans, 3d_fullres): not validated: train to the end" in message
    assert SA_UNET not in message


@pytest.mark.usefixtures("preprocessed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-d", "7"], "--folds: found 4, but there are 2 folds"),
        (["-d", "7", "--folds", "x"], "--folds: found x, expected numbers or ranges"),
        (["-d", "7", "--folds", "0", "-p", "minePlans"], f"found {SA_UNET}__nnUNetPlans__3d_fullres, {UNET}__"),
        (["-d", "7", "--folds", "0", "--variants", "noSAM"], f"expected all, or of: {SA_UNET}, {UNET}"),
        (["-d", "7", "--folds", "0", "--baseline", "x"], f"--baseline: no model x: expected one of: {SA_UNET}, {UNET}"),
        (["-d", "7", "--folds", "0", "--observers", "none"], "none: no such folder"),
        (["-d", "7", "--references", "labels"], "--references: belongs to --predictions"),
        (["-d", "99"], "-d 99: "),
        ([], "-d: not given"),
        (["--predictions", "a"], "--references: not given: name their folder, or the data set with -d"),
        (["-d", "7", "--predictions", "a", "--folds", "0", "-p", "x"], "-p, --folds: for cross-validated models only"),
        (["-d", "7", "--predictions", "a"], "labelsTs: no such folder"),
        (["--references", "labels", "--predictions", "none"], "none: no such folder"),
        (["--references", "labels", "--predictions", "=labels"], "--predictions =labels: no name before the ="),
        (["--references", "labels", "--predictions", "labels", "labels"], "a second model labels: give one of them"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    for case in "ab":
        write_mask(tmp_path / "labels" / f"{case}.nii.gz", 8)
    assert expected in fails(capsys, *words)


def test_a_data_set_without_models_is_named(preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (preprocessed.parent.parent / "results" / DATASET).rename(preprocessed.parent.parent / "moved")
    assert "found no model at all: name its plans with -p" in fails(capsys, "-d", "7", "--folds", "0")
