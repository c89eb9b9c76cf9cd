"""Files that are complete or absent, and what a kill leaves of them."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, suppress
from pathlib import Path

from nnunetv2_sa_unet.files import complete_or_absent, remove_unfinished, sha256, temporary_beside


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
