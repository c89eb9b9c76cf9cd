"""Two processes train every network with DistributedDataParallel, without looking for unused parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="needs torch with gloo")
def test_parameters_move_and_stay_equal_across_two_processes(networks: dict[str, Any], tmp_path: Path) -> None:
    before = {
        f"{name}, {'deep supervision' if deep_supervision else 'one output'}": (
            network.build(deep_supervision=deep_supervision),
            network.input(),
        )
        for name, network in networks.items()
        for deep_supervision in (True, False)
    }
    torch.save(before, tmp_path / "networks.pt")
    worker = [sys.executable, str(Path(__file__).with_name("ddp_worker.py")), str(tmp_path)]
    processes = [subprocess.Popen([*worker, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)

    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first.keys() == before.keys()
    for case, (network, _) in before.items():
        moved = False
        for name, parameter in network.named_parameters():
            assert torch.equal(first[case][name], second[case][name]), f"{case}: {name}"
            moved |= not torch.equal(first[case][name], parameter)
        assert moved, case
