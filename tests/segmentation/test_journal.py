"""Lines that are on the disk, and those that are not quite."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.segmentation.journal import append_line, read_lines


def test_lines_come_back_without_one_that_was_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert read_lines(path) == []
    entries = [{"name": "a"}, {"name": "ä\n"}]
    for entry in entries:
        append_line(path, entry)
    assert read_lines(path) == entries
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert read_lines(path) == entries[: 0 if end < first else 1]


def test_a_line_that_could_not_be_written_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    append_line(tmp_path / "lines", 1)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            append_line(tmp_path / "lines", 2)
    append_line(tmp_path / "lines", 3)
    assert read_lines(tmp_path / "lines") == [1, 3]
