"""The paper's tables from scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.scores.metrics import CaseMetrics
from nnunetv2_sa_unet.scores.statistics import bootstrap_interval
from nnunetv2_sa_unet.study.comparison import holm
from nnunetv2_sa_unet.study.formats import Table
from nnunetv2_sa_unet.study.published import LABELS, LEADERBOARD, PAPER, PAPER_SCANNERS
from nnunetv2_sa_unet.study.tables import (
    Model,
    ablations,
    cases_by_scanner,
    differences,
    make_models,
    observers,
    rivals,
    scanners,
)

CASES = ["GE3T_100", "GE3T_101", "Utrecht_001", "Utrecht_002", "Utrecht_003"]
GROUPS = cases_by_scanner(CASES)
METRIC_NAMES = ["dice", "h95", "avd", "recall", "f1"]


def scores(start: float, **changed: Any) -> dict[str, CaseMetrics]:
    """Figures that rise by case; those in ``changed`` are of the first case."""
    result = {
        case: CaseMetrics(start + step / 100, 5.0 + step, 20.0 + step, start + step / 50, start + step / 25, 1, 1, 1, 1)
        for step, case in enumerate(CASES)
    }
    result[CASES[0]] = replace(result[CASES[0]], **changed)
    return result


def column(table: Table, name: str) -> list[str]:
    index = list(table.header).index(name)
    return [line[index] for line in table.lines]


def names(models: list[Model]) -> list[str]:
    return [model.name for model in models]


def test_every_trainer_has_its_row_of_the_paper_or_at_least_a_name() -> None:
    assert set(PAPER) | set(LABELS) == set(VARIANTS)
    assert not set(PAPER) & set(LABELS)
    for name, row in PAPER.items():
        if "(Backbone" in VARIANTS[name].summary:
            label = row.label.replace("GN+3D", "GN + 3D")
            assert VARIANTS[name].summary.endswith(f"({label})")


def test_models_get_the_papers_labels_and_order() -> None:
    models = make_models(dict.fromkeys(["mine", *reversed(PAPER)], scores(0.5)))
    assert names(models) == [*PAPER, "mine"]
    assert [model.label for model in models] == [*(row.label for row in PAPER.values()), "mine"]


def test_systems_without_figures_of_the_paper_have_their_names_too() -> None:
    models = make_models(dict.fromkeys(["mine", "nnUNetTrainerTrUENet", "nnUNetTrainerSAUNet"], scores(0.5)))
    assert [model.label for model in models] == ["3D SA-UNet", "mine", "TrUE-Net"]
    assert [model.published is None for model in models] == [False, True, True]


def test_two_models_of_one_trainer_keep_their_own_names() -> None:
    given = ["nnUNetTrainerSAUNet__aPlans__3d_fullres", "nnUNetTrainerSAUNet__bPlans__3d_fullres"]
    assert [model.label for model in make_models(dict.fromkeys(given, scores(0.5)))] == [
        f"3D SA-UNet ({name})" for name in given
    ]


def test_the_challenges_scanners_are_known_by_the_names_of_cases_in_the_papers_order() -> None:
    assert cases_by_scanner(["GE3T_100", "Utrecht_1", "GE1T5_150", "GE3T_101"]) == {
        "Utrecht": ["Utrecht_1"],
        "GE3T": ["GE3T_100", "GE3T_101"],
        "GE1T5": ["GE1T5_150"],
    }


@pytest.mark.parametrize(
    "cases",
    [
        ["a1", "a2"],
        ["sub-01_ses-a", "sub-01_ses-b", "sub-02_ses-a"],
        ["patient1_1", "patient1_2"],
        ["GE3T_100", "GE3T_101", "mine_1"],
        ["GE3T", "Utrecht"],
    ],
)
def test_other_names_tell_no_scanner(cases: list[str]) -> None:
    assert cases_by_scanner(cases) == {"all": cases}


def test_a_table_tells_the_scanner_of_any_case() -> None:
    table = {"sub-01": "b", "GE3T_1": "a", "x": "GE3T", "not evaluated": "c"}
    assert cases_by_scanner(["sub-01", "GE3T_1", "x"], table) == {"GE3T": ["x"], "a": ["GE3T_1"], "b": ["sub-01"]}


def test_table_1_has_the_ablations_and_not_the_rivals() -> None:
    given = ["nnUNetTrainerUNet3D", "nnUNetTrainerSAUNet", "mine", "nnUNetTrainerSAUNet_noSAM"]
    table = ablations(make_models(dict.fromkeys(given, scores(0.5))), "five cases")
    assert table is not None
    assert column(table, "Models") == ["Backbone* with GN+3D ASPP", "3D SA-UNet"]
    assert column(table, "DICE: paper") == ["0.77", "0.79"]
    assert "on five cases" in table.notes[0]
    assert ablations(make_models({"mine": scores(0.5)}), "") is None


def test_measured_figures_are_means_with_bootstrap_intervals_and_avd_is_a_fraction() -> None:
    table = ablations(make_models({"nnUNetTrainerSAUNet": scores(0.5)}), "")
    assert table is not None
    low, high = bootstrap_interval(np.array([20.0, 21.0, 22.0, 23.0, 24.0]))
    record = table.records[0]
    assert record["avd_measured"] == pytest.approx(0.22)
    assert (record["avd_low"], record["avd_high"]) == pytest.approx((low / 100, high / 100))
    assert record["dice_measured"] == pytest.approx(0.52)
    assert record["h95_measured"] == pytest.approx(7.0)
    assert record["recall_measured"] == pytest.approx(0.54)
    assert record["f1_measured"] == pytest.approx(0.58)
    line = dict(zip(table.header, table.lines[0], strict=True))
    assert line["H95 ↓"].startswith("7.00 [")
    assert f"0.220 [{low / 100:.3f}, {high / 100:.3f}]" in table.lines[0]


def test_table_2_has_the_rivals_then_unknown_models_then_3d_sa_unet_then_what_others_report() -> None:
    given = ["nnUNetTrainerSAUNet", "mine", "nnUNetTrainerAttentionUNet", "nnUNetTrainerSAUNet_noSAM"]
    table = rivals(make_models(dict.fromkeys(given, scores(0.5))), "")
    theirs = ["MICCAI Challenge Winner", *(row.label for row in LEADERBOARD)]
    assert column(table, "Models") == ["Attention UNet", "mine", "3D SA-UNet", *theirs]
    assert column(table, "figures of")[:5] == ["paper", "–", "paper", "paper", "leaderboard"]
    assert column(table, "cases") == ["5", "5", "5", *["–"] * len(theirs)]


def test_the_winner_is_a_rival_with_figures_of_its_own_where_it_was_trained() -> None:
    given = ["nnUNetTrainerLi2018", "nnUNetTrainerUResNet", "nnUNetTrainerUNet3D"]
    table = rivals(make_models(dict.fromkeys(given, scores(0.5))), "")
    shown = column(table, "Models")
    assert shown[:4] == ["3D U-Net", "MICCAI Challenge Winner", "uResNet", "3D SA-UNet"]
    assert shown.count("MICCAI Challenge Winner") == 1
    assert column(table, "DICE: others")[:4] == ["0.71", "0.80", "–", "0.79"]
    assert column(table, "cases")[:4] == ["5", "5", "5", "–"]


def test_the_leaderboards_avd_is_a_fraction_as_the_papers() -> None:
    table = rivals(make_models({"mine": scores(0.5)}), "")
    rows = {record["label"]: record for record in table.records}
    winner = rows["sysu_media (winner of 2017)"]
    assert [winner[f"{name}_others"] for name in METRIC_NAMES] == ["0.80", "6.30", "0.2188", "0.84", "0.76"]
    assert winner["dice_measured"] is None
    # The paper's own row is there though nothing of it was measured.
    assert rows["3D SA-UNet"]["avd_others"] == "0.174"


def test_table_3_has_a_row_for_each_scanner_and_one_for_all() -> None:
    table = scanners(make_models({"nnUNetTrainerSAUNet": scores(0.5), "mine": scores(0.1)}), GROUPS, "")
    assert column(table, "Models") == ["3D SA-UNet"] * 3 + ["mine"] * 3
    assert column(table, "Scanners") == ["Utrecht", "Amsterdam GE3T", "all"] * 2
    assert column(table, "cases") == ["3", "2", "5"] * 2
    assert column(table, "AVD ↓: paper") == ["0.151", "0.201", "0.174", "–", "–", "–"]
    assert [record["scanner"] for record in table.records[:3]] == ["Utrecht", "GE3T", "all"]
    # The cases of GE3T come first.
    assert [record["dice_measured"] for record in table.records[:3]] == pytest.approx([0.53, 0.505, 0.52])


def test_other_models_have_no_figures_of_the_paper_by_scanner() -> None:
    table = scanners(make_models({"nnUNetTrainerUNet3D": scores(0.5)}), GROUPS, "")
    assert column(table, "DICE: paper") == ["–", "–", "0.71"]


def test_the_papers_scanners_average_to_its_average() -> None:
    cases = {"Utrecht": 30, "Singapore": 30, "PhilipsVU": 10, "GE3T": 30, "GE1T5": 10}
    for name in ("dice", "f1"):
        total = sum(cases[site] * float(getattr(row, name)) for site, row in PAPER_SCANNERS.items())
        assert total / 110 == pytest.approx(float(getattr(PAPER["nnUNetTrainerSAUNet"], name)), abs=0.006)


def test_cases_without_a_value_are_counted_and_named_where_they_are_missing() -> None:
    models = make_models({"nnUNetTrainerSAUNet": scores(0.5, h95_mm=None, avd_percent=None)})
    table = scanners(models, GROUPS, "")
    assert [record["h95_cases"] for record in table.records] == [3, 1, 4]
    assert "3D SA-UNet, Amsterdam GE3T: 1 of 2 cases have no H95 and are left out of its mean: GE3T_100." in table.notes
    assert "3D SA-UNet, all: 1 of 5 cases have no AVD and are left out of its mean: GE3T_100." in table.notes
    # One case has a mean and no interval.
    assert column(table, "H95 ↓")[1] == "6.00"


def test_differences_are_tested_and_corrected_as_one_family() -> None:
    random = np.random.default_rng(0)
    noisy = {case: replace(figures, dice=figures.dice + random.normal(0, 0.1)) for case, figures in scores(0.5).items()}
    models = make_models({"base": scores(0.5), "a": noisy, "b": scores(0.7)})
    table = differences(models, models[0])

    assert [(record["model"], record["metric"]) for record in table.records] == [
        (model, metric) for model in "ab" for metric in METRIC_NAMES
    ]
    first = table.records[0]
    dice = [np.array([figures.dice for figures in model.cases.values()]) for model in models]
    exact = stats.permutation_test(
        (dice[1], dice[0]), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    assert first["difference"] == pytest.approx((dice[1] - dice[0]).mean())
    assert (first["low"], first["high"]) == pytest.approx(bootstrap_interval(dice[1] - dice[0]))
    assert first["p"] == pytest.approx(exact.pvalue)
    # Five cases that all differ to one side: 2 of 32 orders.
    assert table.records[5]["p"] == pytest.approx(2 / 32)
    assert [record["p_holm"] for record in table.records] == pytest.approx(
        holm([record["p"] for record in table.records])
    )
    assert "corrected for the 10 comparisons of this table" in table.notes[1]
    assert table.lines[5][2] == "+0.200 [+0.200, +0.200]"
    assert table.lines[5][3:] == ["0.0625", f"{table.records[5]['p_holm']:.4f}", "5"]


def test_differences_in_avd_are_fractions() -> None:
    doubled = {
        case: replace(figures, avd_percent=2 * (figures.avd_percent or 0)) for case, figures in scores(0.5).items()
    }
    models = make_models({"base": scores(0.5), "other": doubled})
    record = next(record for record in differences(models, models[0]).records if record["metric"] == "avd")
    assert record["difference"] == pytest.approx(0.22)
    assert record["low"] == pytest.approx(bootstrap_interval(np.arange(20.0, 25.0))[0] / 100)


def test_differences_leave_out_and_name_cases_without_a_value_and_what_cannot_be_tested() -> None:
    none = {case: replace(figures, h95_mm=None) for case, figures in scores(0.6).items()}
    models = make_models({"base": scores(0.5, avd_percent=None), "other": none})
    table = differences(models, models[0])
    by_metric = {record["metric"]: record for record in table.records}
    assert (by_metric["avd"]["cases"], by_metric["avd"]["left_out"]) == (4, "GE3T_100")
    assert [by_metric["h95"][key] for key in ("difference", "low", "p", "p_holm", "cases")] == [None] * 4 + [0]
    assert "corrected for the 4 comparisons" in table.notes[1]
    assert "other, AVD: 1 of 5 cases are left out, as one of the two has no value: GE3T_100." in table.notes
    assert list(table.lines[1][2:]) == ["–", "–", "–", "0"]


def test_the_baseline_is_not_compared_with_itself() -> None:
    models = make_models({"a": scores(0.5), "b": scores(0.6), "c": scores(0.7)})
    table = differences(models, models[1])
    assert {record["model"] for record in table.records} == {"a", "c"}
    assert {record["baseline"] for record in table.records} == {"b"}
    assert table.title == "Paired differences to b"


def test_observers_stand_above_the_models_on_the_same_cases() -> None:
    read = {case: figures for case, figures in scores(0.8).items() if case in CASES[:2]}
    models = make_models({"nnUNetTrainerSAUNet": scores(0.5)})
    table = observers({"o3 against reference": read, "o4 against o3": read}, models)
    assert column(table, "Readings") == ["o3 against reference", "o4 against o3", "3D SA-UNet"]
    assert column(table, "cases") == ["2", "2", "2"]
    assert [record["dice_measured"] for record in table.records] == pytest.approx([0.805, 0.805, 0.505])
    assert "All rows: the 2 of 5 cases that every observer has read." in table.notes
    assert not any("paper" in name for name in table.header)
