"""Files that are complete or absent, and what a kill leaves of them."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import (
    below,
    complete_or_absent,
    held,
    make_writable,
    path_from,
    remove_unfinished,
    sha256,
    temporary_beside,
    write_rows,
)


def test_a_file_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mask.nii.gz"
    with complete_or_absent(path) as temporary:
        temporary.write_text("first")
    with suppress(KeyboardInterrupt), complete_or_absent(path) as temporary:
        temporary.write_text("half of the sec")
        raise KeyboardInterrupt
    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == [("mask.nii.gz", "first")]


def test_what_a_kill_leaves_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [".bidsignore", ".mask.nii.gz", "mask.nii.gz", ".mask.nii.gz.12345678.json", ".nfs.12345678", "a.12345678.a"]
    for name in kept:
        (tmp_path / name).touch()
    with ExitStack() as stack:
        names = ("mask.nii.gz", "volumes.json", ".bidsignore")
        temporary = [stack.enter_context(temporary_beside(tmp_path / name)) for name in names]
        assert all(path.exists() for path in temporary)
        # As if this process were dead.
        remove_unfinished(tmp_path)
        assert not any(path.exists() for path in temporary)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    remove_unfinished(tmp_path / "absent")


def test_the_hash_of_files_is_that_of_their_bytes_in_turn(tmp_path: Path) -> None:
    contents = [b"a" * 3_000_000, b"b"]
    for index, content in enumerate(contents):
        (tmp_path / str(index)).write_bytes(content)
    found = sha256([tmp_path / "0", tmp_path / "1"])
    assert found == hashlib.sha256(b"".join(contents)).hexdigest()


def test_a_file_that_the_disk_does_not_take_never_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), complete_or_absent(tmp_path / "mask.nii.gz") as temporary:
        temporary.write_text("accepted, and not on the disk")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.nii.gz", "sub-1/anat/a.nii.gz", "..a", "a..b/c", "linked_inside/a"])
def test_paths_below_a_folder_are_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "linked_inside").symlink_to("inside")
    assert below(tmp_path, name) == tmp_path / name
    assert below(tmp_path / "not there yet", name) == tmp_path / "not there yet" / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/../../b", "/etc/passwd", "P01_/../../X", "linked/a", "sub/linked/a", "a\0b"]
)
def test_paths_that_leave_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for link in ("linked", "sub/linked"):
        (folder / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"leads out of .*out; expected a path below"):
        below(folder, name)


HOLD = """
import sys
from pathlib import Path
from nnunetv2_sa_unet.files import held
with held(Path(sys.argv[1]), beside=sys.argv[2] == "beside"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_a_folder_is_held_by_one_process_until_it_ends_or_is_killed(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    words = [sys.executable, "-c", HOLD, str(folder), where]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        message = f"another run is writing there .process {other.pid} on .* since 20"
        with pytest.raises(InputError, match=message), held(folder, beside=where == "beside"):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    with held(folder, beside=where == "beside"):
        assert (folder / "free").parent.is_dir()
    place = folder if where == "inside" else tmp_path
    assert not list(place.glob(".*"))


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"), held(tmp_path / "absent"):
        pass
    assert not (tmp_path / "absent").exists()


def test_a_folder_of_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\\xfcller: its name is no UTF-8; choose another folder with -o"):
        make_writable(tmp_path / os.fsdecode(b"m\xfcller"))


def test_a_table_holds_no_formulas(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", ["case", "dice"], [["=1+1", -0.5], ["\x1b[31mred", None]])
    with (tmp_path / "a.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["case", "dice"], ["'=1+1", "-0.5"], [r"\x1b[31mred", ""]]


def test_a_record_names_paths_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_from(tmp_path / "out", tmp_path / "in" / "a.nii") == "../in/a.nii"

    def other_drive(path: object, start: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)
    assert path_from(tmp_path, "D:/a.nii") == "D:/a.nii"
