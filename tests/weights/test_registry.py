"""The table of the models in the box, and that what it names is there and unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.nnunet.model_folder import VERSION_KEY, differing_keys
from nnunetv2_sa_unet.plans.configurations import with_variant
from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.weights.registry import DEFAULT, MODELS, WEIGHTS_NAME, BoxedModel, boxed_at, table

#: By name and version: whoever changes weights or plans gives them another version.
PINNED = {
    ("openflair1", "1"): "d22f41b00793e34498fb12053bcf48dc60c2236d54ad2ff6ef73de6456a4ac07",
}


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
def model(request: pytest.FixtureRequest) -> BoxedModel:
    found: BoxedModel = request.param
    return found


def test_weights_and_plans_are_those_of_their_version(model: BoxedModel) -> None:
    weights = sorted(model.folder.glob(f"fold_*/{WEIGHTS_NAME}"))
    assert weights
    found = sha256([model.folder / "plans.json", model.folder / "checkpoint.json", *weights])
    assert found == PINNED[model.name, model.version]


def test_a_model_is_found_by_its_folder(model: BoxedModel) -> None:
    assert boxed_at(model.folder) == model
    assert boxed_at(model.folder.parent) is None


def test_todays_trainer_would_train_the_same_network(model: BoxedModel) -> None:
    """So folds can be added to an installed model, and both its trainer and the stock one predict with it."""
    plans = json.loads((model.folder / "plans.json").read_text())
    facts = json.loads((model.folder / "checkpoint.json").read_text())
    configuration = facts["init_args"]["configuration"]
    rewritten = with_variant(plans, configuration, VARIANTS[facts["trainer_name"]])
    assert differing_keys(plans, rewritten, configuration) == []
    assert VERSION_KEY in plans


def test_the_card_says_what_must_be_known(model: BoxedModel) -> None:
    for word in ("## Data", "## Recipe", "## Results", "## Limits", "Not for clinical use", "licence", model.name):
        assert word in model.card
    assert f"threshold {model.threshold:g}" in model.card


def test_the_table_needs_no_torch() -> None:
    program = (
        "import sys, nnunetv2_sa_unet.commands.main as m; m.main(['model', 'list']); "
        "assert not {'torch', 'nnunetv2'} & set(sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert all(name in printed for name in MODELS)
    assert f"{DEFAULT}, version" in printed


def test_a_card_is_printed(model: BoxedModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "card", model.name]) == 0
    assert capsys.readouterr().out == model.card


def test_the_docs_list_every_model_as_the_table_has_it(source_tree: Path) -> None:
    page = (source_tree / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    assert table() in page
    assert all(f"weights/{name}/CARD.md" in page for name in MODELS)
