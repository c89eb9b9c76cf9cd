"""What ends a command that is nobody's mistake in a word: one line and the right status, never a traceback."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands import doctor
from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.errors import InputError


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("a.nii: is empty"), 1, "error: a.nii: is empty"),
        (OSError(28, "No space left on device", "out/a.csv"), 1, "error: out/a.csv: No space left on device"),
        (PermissionError(13, "Permission denied", "/root/x"), 1, "error: /root/x: Permission denied"),
        (OSError(5, "Input/output error"), 1, "error: Input/output error"),
        (MemoryError(), 1, "error: there is not enough memory"),
        (BrokenProcessPool("terminated"), 1, "error: a worker process was killed, perhaps for lack of memory: use"),
        (BrokenPipeError(32, "Broken pipe"), 1, "error: nobody reads the output any more"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_errors_of_the_machine_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    line: str,
) -> None:
    def run(_: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(doctor, "run", run)
    monkeypatch.setattr("nnunetv2_sa_unet.commands.main._let_go_of_the_output", lambda: None)
    assert main(["doctor"]) == status
    (found,) = capsys.readouterr().err.splitlines()
    assert found.startswith(line)


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: argparse.Namespace) -> int:
        raise AssertionError("a bug")

    monkeypatch.setattr(doctor, "run", run)
    with pytest.raises(AssertionError):
        main(["doctor"])


def test_termination_is_the_systems_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler would be handed on to forks, which may lose the signal and never end: nnU-Net's pools are forks."""
    found = []

    def look(_: argparse.Namespace) -> int:
        found.append(signal.getsignal(signal.SIGTERM))
        return 0

    monkeypatch.setattr("nnunetv2_sa_unet.commands.doctor.run", look)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["doctor"]) == 0
    assert found == [before]


def test_the_terminal_is_shown_control_characters_and_does_not_obey_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> int:
        print("\x1b]0;title\x07\x1b[31mred\x9b and 57.5×57.5 mm\ttab m\udcfcller")
        raise InputError("\x1b[2Jgone")

    monkeypatch.setattr(doctor, "run", run)
    assert main(["doctor"]) == 1
    output = capsys.readouterr()
    assert output.out == "\\x1b]0;title\\x07\\x1b[31mred\\x9b and 57.5×57.5 mm\ttab m\\xfcller\n"
    assert output.err == "error: \\x1b[2Jgone\n"


def write_pair(folder: Path, name: str) -> list[str]:
    values = np.zeros((3, 8, 8), np.uint8)
    values[1, 2:4, 2:4] = 1
    for side in ("ref", "pred"):
        (folder / side).mkdir()
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / side / "a.nii.gz"))
        (folder / side / "a.nii.gz").rename(folder / side / name)
    return ["evaluate", str(folder / "ref"), str(folder / "pred"), "-np", "1"]


def command(words: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    start = [sys.executable, "-m", "nnunetv2_sa_unet.commands.main"]
    return subprocess.run([*start, *words], capture_output=True, env={**os.environ, **environment}, timeout=120)


def test_an_encoding_that_lacks_a_character_does_not_end_a_run(tmp_path: Path) -> None:
    done = command(write_pair(tmp_path, "mü×.nii.gz"), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pred" / "evaluation" / "metrics.csv").is_file()


def test_a_name_that_is_no_utf8_is_one_line(tmp_path: Path) -> None:
    done = command(write_pair(tmp_path, os.fsdecode(b"m\xfcller.nii.gz")))
    assert done.returncode == 1
    assert b"m\\xfcller.nii.gz: cannot be read: its name is no UTF-8: rename it" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_closed_pipe_is_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "nnunetv2_sa_unet.commands.main", *write_pair(tmp_path, "a.nii.gz")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert b"error: nobody reads the output any more\n" in said
    assert b"Traceback" not in said


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no PYTHONSAFEPATH")
def test_workers_do_not_look_for_modules_in_the_working_folder(tmp_path: Path) -> None:
    words = write_pair(tmp_path, "a.nii.gz")
    for name in ("tempfile.py", "pickle.py"):
        (tmp_path / name).write_text("import sys; sys.stderr.write('FOREIGN CODE')")
    words = [str(Path(word).resolve()) if Path(word).exists() else word for word in words]
    (tmp_path / "ref" / "b.nii.gz").write_bytes((tmp_path / "ref" / "a.nii.gz").read_bytes())
    (tmp_path / "pred" / "b.nii.gz").write_bytes((tmp_path / "pred" / "a.nii.gz").read_bytes())
    start = "import sys; from nnunetv2_sa_unet.commands.main import main; sys.exit(main(sys.argv[1:]))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", start, *words[:-1], "2"],
        capture_output=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert b"FOREIGN" not in done.stderr
