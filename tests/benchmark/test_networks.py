"""The script that measures the networks, at a tiny size."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = ["--patch", "8", "32", "32", "--rounds", "1", "--threads", "1"]


@pytest.fixture
def measure(source_tree):
    script = Path(source_tree, "docs", "benchmarks", "networks.py")
    # The script imports the modules beside it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), *TINY, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_table_of_time_and_memory_is_written(measure, tmp_path):
    networks = ["plain", "SAUNet", "PlainConvUNet"]
    done = measure("--networks", *networks, "--baseline", "SAUNet", "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "networks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["what"], row["network"]) for row in rows] == [
        (what, name) for what in ("forward", "train") for name in networks
    ]
    plain, fast, _ = rows[:3]
    assert float(fast["ratio"]) == 1
    assert plain["parameters"] == fast["parameters"]
    # The upsampled maps take 9 multiplications an output in the plain modules, 4 in the other formulation.
    assert float(fast["gmac"]) < float(plain["gmac"])
    assert (tmp_path / "out" / "networks.md").read_text() == done.stdout


def test_nnunets_command_is_timed(measure, tmp_path):
    words = ["--what", "predict", "--volume", "8", "32", "32", "-o", str(tmp_path)]
    done = measure("--networks", "SAUNet_noASPP", *words)
    assert done.returncode == 0, done.stderr
    assert "| predict | SAUNet_noASPP |" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "SAUNet", "UNet"], "--networks: found UNet, expected some of: plain, SAUNet,"),
        (["--networks", "SAUNet", "--baseline", "plain"], "--baseline: found plain, expected one of"),
        (["--networks", "plain", "--what", "predict"], "--what predict: nnU-Net's command knows no plain"),
        (["--patch", "8", "33", "32"], "--patch: found 8 33 32, which the strides"),
    ],
)
def test_words_that_cannot_be_used_are_named(measure, words, message):
    done = measure(*words)
    assert done.returncode == 2
    assert message in done.stderr
