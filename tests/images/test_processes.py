"""Processes that share work, and end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunetv2_sa_unet.images.processes import _left_to_the_parent, mapping

PARENT = """
import signal, sys
from nnunetv2_sa_unet.images.processes import mapping
sys.path.insert(0, sys.argv[1])
from work import name_and_sleep
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started it in the background
    with mapping(2) as apply:
        list(apply(name_and_sleep, [sys.argv[1]] * 20))
"""
WORK = """
import os, time
from pathlib import Path
def name_and_sleep(folder):
    Path(folder, f"pid_{os.getpid()}").touch()
    time.sleep(30)
"""


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc which processes are alive")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "parent.py").write_text(PARENT)
    words = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("pid_*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = [int(path.name.partition("_")[2]) for path in tmp_path.glob("pid_*")]
        assert len(workers) == 2
        parent.send_signal(number)
        parent.wait(20)
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
def test_an_interruption_while_processes_start_is_not_lost() -> None:
    reached = []

    def start() -> None:
        with _left_to_the_parent(signal.SIGINT):
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end"]


def test_the_order_is_kept_and_an_error_ends_the_work() -> None:
    with mapping(2) as apply:
        assert list(apply(abs, [-3, 2, -1])) == [3, 2, 1]
    with pytest.raises(TypeError), mapping(2) as apply:
        list(apply(abs, [1, "no number", *range(100)]))
