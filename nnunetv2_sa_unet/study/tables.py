"""The paper's three tables from the scores of any models, with paired differences and what human observers reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunetv2_sa_unet.scores.metrics import CaseMetrics
from nnunetv2_sa_unet.scores.statistics import Statistics, summarise
from nnunetv2_sa_unet.study.comparison import PERMUTATIONS, compare, holm
from nnunetv2_sa_unet.study.formats import Table
from nnunetv2_sa_unet.study.published import HUMANS, LEADERBOARD, PAPER, PAPER_SCANNERS, Published, label_of, paper_row
from nnunetv2_sa_unet.study.result_table import METRICS, UNITS, Metric, Row, result_table, scaled

__all__ = [
    "Model",
    "ablations",
    "cases_by_scanner",
    "differences",
    "make_models",
    "observers",
    "rivals",
    "scanner_label",
    "scanners",
]

ALL = "all"
_SA_UNET = PAPER["nnUNetTrainerSAUNet"]
_WINNER = PAPER["nnUNetTrainerLi2018"]
_RIVALS = [PAPER["nnUNetTrainerUNet3D"], PAPER["nnUNetTrainerAttentionUNet"], _WINNER]
_DIFFERENT_CASES = "Unless the measured cases are those 110, compare the rows of a column before you compare columns."


@dataclass(frozen=True)
class Model:
    """A model and its scores.

    Attributes:
        name: as the user names it.
        label: as the tables name it: the paper's label where it has one.
        published: the paper's row.
        cases: scores by case; the same cases for all models.
    """

    name: str
    label: str
    published: Published | None
    cases: Mapping[str, CaseMetrics]


def make_models(scores: Mapping[str, Mapping[str, CaseMetrics]]) -> list[Model]:
    """Name the models as the paper does, where that leaves them apart, and put them into its order.

    Args:
        scores: by the model's name, a trainer's or nnU-Net's folder's (``TRAINER__PLANS__…``) or any other, and case.
    """
    rows = {name: paper_row(name) for name in scores}
    known = {name: label_of(name) for name in scores}
    uses = Counter(known.values())
    models = []
    for name, row in rows.items():
        label = known[name]
        label = name if label is None else label if uses[label] == 1 else f"{label} ({name})"
        models.append(Model(name, label, row, scores[name]))
    order = list(PAPER.values())
    return sorted(models, key=lambda model: order.index(model.published) if model.published else len(order))


def cases_by_scanner(cases: Sequence[str], table: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Group cases by scanner.

    Args:
        cases: names.
        table: the scanner by case, for all of them; if None, it is the paper's that a name starts with, as in
            ``GE3T_100``.

    Returns:
        The paper's scanners in its order, then others by name. One group ``all`` where there is no table and a name
        does not start so: what else stands in a name may be a subject or a session.
    """
    if table is None:
        table = {case: case.rpartition("_")[0] for case in cases}
        if not PAPER_SCANNERS.keys() >= set(table.values()):
            return {ALL: list(cases)}
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(table[case], []).append(case)
    known = [site for site in PAPER_SCANNERS if site in groups]
    return {site: groups[site] for site in [*known, *sorted(groups.keys() - set(known))]}


def scanner_label(site: str) -> str:
    """The paper's name of a scanner, or the site itself."""
    return PAPER_SCANNERS[site].label if site in PAPER_SCANNERS else site


def ablations(models: Sequence[Model], source: str) -> Table | None:
    """Table 1: the networks of the paper's ablation study among the models; None if there is none.

    Args:
        models: see :func:`make_models`.
        source: the measured cases, in words.
    """
    rows = [_row(model, model.published) for model in models if model.published and model.published not in _RIVALS]
    notes = [
        _measured(source),
        "Paper: its table 1, on the 110 test cases of the WMH Segmentation Challenge.",
        _DIFFERENT_CASES,
    ]
    return result_table("table1", "Ablations", ["Models"], rows, notes) if rows else None


def rivals(models: Sequence[Model], source: str) -> Table:
    """Table 2: 3D SA-UNet, the paper's rivals, models that the paper does not know, and what others report."""
    shown = [*_RIVALS, None, _SA_UNET]
    rows = [_row(model, published) for published in shown for model in models if model.published == published]
    measured = [model.published for model in models]
    theirs = [*(row for row in (_SA_UNET, _WINNER) if row not in measured), *LEADERBOARD]
    rows += [Row({"model": "", "label": row.label}, [row.label], row, None, 0) for row in theirs]
    notes = [
        _measured(source),
        "Others: the paper's table 2, the leaderboard of the WMH Segmentation Challenge (its AVD is in %, divided by "
        "100 here) and the repository wmh-multisite (one fold, 250 epochs), on the challenge's 110 test cases.",
        _DIFFERENT_CASES,
    ]
    return result_table("table2", "Comparison with other models", ["Models"], rows, notes, by="others")


def scanners(models: Sequence[Model], groups: Mapping[str, Sequence[str]], source: str) -> Table:
    """Table 3: every model on the cases of each scanner, and on all.

    Args:
        models: see :func:`make_models`.
        groups: see :func:`cases_by_scanner`.
        source: the measured cases, in words.
    """
    rows = []
    for model in models:
        for site, cases in groups.items():
            theirs = PAPER_SCANNERS.get(site) if model.published == _SA_UNET else None
            rows.append(_row(model, theirs, cases, site))
        if len(groups) > 1:
            rows.append(_row(model, model.published, site=ALL))
    notes = [_measured(source)]
    if any(row.published for row in rows):
        notes += [
            "Paper: its tables 1 to 3, on the 110 test cases of the WMH Segmentation Challenge.",
            _DIFFERENT_CASES,
        ]
    return result_table("table3", "Performance on different scanners", ["Models", "Scanners"], rows, notes)


def differences(models: Sequence[Model], baseline: Model) -> Table:
    """The paired differences of the other models to the baseline in every metric, one family for Holm's correction."""
    compared = [
        (model, metric, compare(_values(model.cases, metric), _values(baseline.cases, metric)))
        for model in models
        if model is not baseline
        for metric in METRICS
    ]
    tested = [difference.p for *_, difference in compared if difference.p is not None]
    adjusted = iter(holm(tested))
    lines, notes, records = [], [], []
    for model, metric, difference in compared:
        holms = None if difference.p is None else next(adjusted)
        mean = None if difference.mean is None else difference.mean * metric.unit
        low, high = (None, None) if difference.interval is None else (end * metric.unit for end in difference.interval)
        ends = "" if low is None else f" [{_signed(low, metric)}, {_signed(high, metric)}]"
        cells = [_signed(mean, metric) + ends, _p(difference.p), _p(holms), str(difference.cases)]
        lines.append([model.label, metric.title, *cells])
        records.append(
            {"model": model.name, "baseline": baseline.name, "metric": metric.name, "difference": mean}
            | {"low": low, "high": high, "p": difference.p, "p_holm": holms, "cases": difference.cases}
            | {"left_out": " ".join(difference.left_out)}
        )
        if difference.left_out:
            notes.append(
                f"{model.label}, {metric.title.removesuffix(' ↓')}: {len(difference.left_out)} of {len(model.cases)} "
                f"cases are left out, as one of the two has no value: {', '.join(difference.left_out)}."
            )
    explained = [
        f"Difference: the model minus {baseline.label}, mean over the cases where both have a value [95 % bootstrap "
        f"interval]; better are H95 and AVD (↓) below 0 and the others above 0. {UNITS}",
        f"p: two-sided paired permutation test ({PERMUTATIONS:,} random permutations, or all where there are fewer); "
        f"p (Holm): corrected for the {len(tested)} comparisons of this table.",
    ]
    header = ["Models", "metric", "difference", "p", "p (Holm)", "cases"]
    title = f"Paired differences to {baseline.label}"
    return Table("differences", title, header, lines, [*explained, *notes], records)


def observers(readings: Mapping[str, Mapping[str, CaseMetrics]], models: Sequence[Model]) -> Table:
    """How far human observers agree, and below them the models on the same cases.

    Args:
        readings: scores by the name of the pair (``observers.observer_pairs``) and case.
        models: whose cases are among the reference's.
    """
    rows = [
        Row({"model": name, "label": name}, [name], None, _statistics(cases, list(cases)), len(cases))
        for name, cases in readings.items()
    ]
    common = list(next(iter(readings.values())))
    rows += [_row(model, None, common) for model in models]
    notes = [
        f"Mean [95 % bootstrap interval over cases]. {UNITS}",
        "'A against B': A is scored as a prediction is and B as the reference, so AVD is relative to B's volume, "
        "recall is over B's lesions, and what B marks as other pathology is left out. Models: against the reference.",
        f"All rows: the {len(common)} of {len(models[0].cases)} cases that every observer has read.",
        HUMANS,
    ]
    return result_table("observers", "Human observers and models on the same cases", ["Readings"], rows, notes)


def _measured(source: str) -> str:
    return f"Measured: mean [95 % bootstrap interval over cases], on {source}. {UNITS}"


def _row(model: Model, published: Published | None, cases: Sequence[str] | None = None, site: str = "") -> Row:
    """A model on some of its cases, all by default, beside the published figures."""
    chosen = list(model.cases) if cases is None else list(cases)
    keys = {"model": model.name, "label": model.label} | ({"scanner": site} if site else {})
    labels = [model.label, *([scanner_label(site)] if site else [])]
    return Row(keys, labels, published, _statistics(model.cases, chosen), len(chosen))


def _statistics(scores: Mapping[str, CaseMetrics], cases: Sequence[str]) -> dict[str, Statistics]:
    chosen = {case: scores[case] for case in cases}
    return {metric.name: scaled(summarise(_values(chosen, metric)), metric.unit) for metric in METRICS}


def _values(cases: Mapping[str, CaseMetrics], metric: Metric) -> dict[str, float | None]:
    return {case: getattr(scores, metric.key) for case, scores in cases.items()}


def _signed(value: float | None, metric: Metric) -> str:
    return "–" if value is None else f"{value:+.{metric.digits}f}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
