"""A GPU and a fold belong to one process at a time, and are free again however it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nnunetv2_sa_unet.study import gpus
from nnunetv2_sa_unet.study.gpus import free_gpu, only_one

HOLD = """\
import sys, pathlib
from nnunetv2_sa_unet.study.gpus import free_gpu
with free_gpu(["0", "1"], pathlib.Path(sys.argv[1])) as gpu:
    print(gpu, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_SECONDS_BETWEEN_LOOKS", 0.01)


def test_jobs_get_different_gpus_and_one_is_free_again_after_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "0\n"
        with free_gpu(["0", "1"], tmp_path) as gpu:
            assert gpu == "1"
        holder.kill()
        holder.wait()
    with free_gpu(["0", "1"], tmp_path) as gpu:
        assert gpu == "0"


def test_a_job_waits_for_a_gpu(tmp_path: Path) -> None:
    got = threading.Event()

    def work() -> None:
        with free_gpu(["0"], tmp_path):
            got.set()

    with free_gpu(["0"], tmp_path):
        thread = threading.Thread(target=work)
        thread.start()
        assert not got.wait(0.2)
    thread.join()
    assert got.is_set()


def test_a_gpu_that_is_listed_twice_serves_two_jobs(tmp_path: Path) -> None:
    gpus = ["MIG-GPU-1/2/0", "MIG-GPU-1/2/0"]
    with free_gpu(gpus, tmp_path) as first, free_gpu(gpus, tmp_path) as second:
        assert first == second == gpus[0]


def test_a_gpu_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"), free_gpu(["0"], tmp_path):
        raise RuntimeError("out of memory")
    with free_gpu(["0"], tmp_path) as gpu:
        assert gpu == "0"


def test_a_fold_is_worked_on_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def work() -> None:
        with only_one(tmp_path / "locks" / "fold.lock"):
            order.append("second")

    with only_one(tmp_path / "locks" / "fold.lock"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
