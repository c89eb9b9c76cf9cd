"""The demo runs what a user would type, writes to a new folder only and says which step failed."""

import argparse
import os
import shlex
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from nnunetv2_sa_unet.commands import demo
from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.commands.plan import plans_name
from nnunetv2_sa_unet.weights.registry import DEFAULT


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers())
    return parser.parse_args(["demo", *words])


def test_steps_are_nnunets_own_commands_in_order():
    steps = demo.steps(Path("demo"), "cpu")
    assert [step.words[:2] for step in steps] == [
        ("nnUNetv2_sa_unet", "finetune"),
        ("nnUNetv2_predict", "-i"),
        ("nnUNetv2_sa_unet", "evaluate"),
    ]
    train, predict, evaluate = (step.words for step in steps)
    # What is predicted and scored is what training never saw, with the model that was trained.
    assert predict[2].endswith("imagesTs")
    assert evaluate[2].endswith("labelsTs")
    assert predict[predict.index("-o") + 1] == evaluate[3]
    assert predict[predict.index("-p") + 1] == plans_name(f"nnUNet{DEFAULT}Plans", ["finetune", "demo"])
    for option in ("-d", "-f", "-device"):
        assert train[train.index(option) + 1] == predict[predict.index(option) + 1]
    assert len({step.log for step in steps}) == len(steps)


def test_nnunet_knows_every_option_that_the_demo_gives(monkeypatch, capsys):
    name = "nnUNetv2_predict"
    words = next(step.words for step in demo.steps(Path("demo"), "cpu") if step.words[0] == name)
    (program,) = entry_points(group="console_scripts", name=name)
    monkeypatch.setattr(sys, "argv", [name, "-h"])
    with pytest.raises(SystemExit):
        program.load()()
    known = set(capsys.readouterr().out.replace(",", " ").replace("[", " ").replace("]", " ").split())
    assert {word for word in words if word.startswith("-")} <= known


def test_the_first_command_segments_the_sample_with_the_model_in_the_box():
    words = demo.sample_step(Path("demo"), "cpu").words
    assert words[:2] == ("nnUNetv2_sa_unet", "segment")
    assert Path(words[2]).is_file()
    assert "-m" not in words


def test_folders_of_nnunet_are_those_of_the_demo_wherever_it_runs(tmp_path):
    variables = demo.environment(tmp_path / "out")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        assert variables[name] == str(tmp_path.resolve() / "out" / name)


def test_a_folder_with_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path) in error
    assert "--out" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("words", [["--cases", "4"], ["--cases", "many"], ["--seed", "-1"]])
def test_numbers_out_of_range_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        parsed(*words)
    assert words[0] in capsys.readouterr().err


def test_a_failing_step_ends_the_demo_and_names_its_log(tmp_path, monkeypatch, capsys):
    log = tmp_path / "out" / "logs" / "1_first.log"
    program = "import sys; print('made \\u00fc'); sys.stderr.write('bar 1\\rbar 2\\n'); sys.exit(3)"
    failing = demo.Step(("python", "-c", program), log)
    never = demo.Step(("python", "-c", "print('never')"), tmp_path / "out" / "logs" / "2_second.log")
    monkeypatch.setattr(
        demo, "sample_step", lambda out, device: demo.Step(("python", "-c", ""), log.with_name("0.log"))
    )
    monkeypatch.setattr(demo, "steps", lambda out, device: [failing, never])
    monkeypatch.setattr(demo, "executable", lambda name: [sys.executable])
    monkeypatch.setattr(demo, "_make_dataset", lambda folder, training, seed: None)
    assert demo.run(parsed("--out", str(tmp_path / "out"))) == 1
    out, err = capsys.readouterr()
    assert err == f"error: python ended with status 3; its output is in {log}\n"
    assert f"$ {shlex.join(failing.words)}\n" in out
    assert "bar 1\rbar 2" in out
    assert "bar 1\rbar 2" in log.read_bytes().decode()
    assert not never.log.exists()


def test_a_killed_program_whose_workers_live_on_ends_the_demo(tmp_path, monkeypatch):
    worker = "import time; time.sleep(60)"
    program = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {worker!r}]); print(p.pid); "
    program += "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(demo, "executable", lambda name: [sys.executable])
    step = demo.Step(("python", "-c", program), tmp_path / "step.log")
    try:
        assert demo._run_step(step, {}) == -signal.SIGKILL
        worker_id = int(step.log.read_text())
        os.kill(worker_id, 0)  # raises if the worker had ended, and this test had shown nothing
    finally:
        os.kill(int(step.log.read_text()), signal.SIGKILL)


def test_a_missing_program_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert main(["demo", "--out", str(tmp_path / "out")]) == 1
    assert "nnUNetv2_predict: not found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
