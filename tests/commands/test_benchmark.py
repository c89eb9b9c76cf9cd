from __future__ import annotations

import csv

import pytest

from nnunetv2_sa_unet.benchmark.networks import configurations
from nnunetv2_sa_unet.benchmark.predict import interleaved_predictions
from nnunetv2_sa_unet.commands.main import main

TINY = ["benchmark", "--patch", "8", "32", "32", "--rounds", "1"]


def test_tables_and_chart_are_written(tmp_path, capsys):
    words = ["--networks", "plain", "SAUNet", "--baseline", "SAUNet", "--what", "forward", "-o", str(tmp_path / "out")]
    assert main([*TINY, *words]) == 0
    with (tmp_path / "out" / "benchmark.csv").open() as file:
        plain, fast = csv.DictReader(file)
    assert (plain["network"], fast["network"]) == ("plain", "SAUNet")
    assert float(fast["ratio"]) == 1
    assert plain["parameters"] == fast["parameters"]
    # The upsampled maps take 9 multiplications an output in the plain formulation, 4 in the other.
    assert float(fast["gmac"]) < float(plain["gmac"])
    assert (tmp_path / "out" / "benchmark.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "out" / "benchmark.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "SAUNet", "UNet"], "error: --networks: found UNet, expected some of: plain, SAUNet,"),
        (["--networks", "SAUNet", "--baseline", "plain"], "error: --baseline: found plain, expected one of"),
        (["-device", "abacus"], "error: -device abacus: "),
        (["--patch", "8", "33", "32"], "error: --patch: found 8 33 32, which the strides"),
    ],
)
def test_words_that_cannot_be_used_are_named(words, message, tmp_path, capsys):
    assert main([*TINY, *words, "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(message)


def test_nnunets_command_predicts_with_a_network(tmp_path):
    networks = {"SAUNet_noASPP": configurations((8, 32, 32))["SAUNet_noASPP"]}
    ((seconds,),) = interleaved_predictions(networks, "cpu", 1, tmp_path, volume=(8, 32, 32))
    assert seconds > 0
    assert (tmp_path / "predictions" / "SAUNet_noASPP" / "case.nii.gz").is_file()
