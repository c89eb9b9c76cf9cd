"""DICOM series: which are there, which are FLAIR, and volumes made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom import looks_like_flair, read_series
from nnunetv2_sa_unet.images.dicom_files import is_dicom
from nnunetv2_sa_unet.images.dicom_series import find_series

Write = Callable[..., list[Path]]
VALUES = np.random.default_rng(0).integers(0, 400, (5, 16, 12))


def test_a_series_is_read_in_the_order_of_its_slices_with_its_geometry(tmp_path: Path, write_series: Write) -> None:
    paths = write_series(tmp_path, VALUES)
    (series,) = find_series(tmp_path).series
    assert series.files == tuple(path.name for path in paths)
    assert list(series.files) != sorted(series.files)
    image = read_series(series.folder, series.files)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), VALUES)
    assert (image.GetSpacing(), image.GetOrigin()) == ((1, 1, 3), (-10, -20, 30))


def test_series_of_a_tree_are_found_by_folder_and_number(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "b", VALUES, "FLAIR", uid="1.2.10")
    write_series(tmp_path / "b", VALUES, "T1 mprage", uid="1.2.9")
    write_series(tmp_path / "a" / "deep", VALUES, "FLAIR", uid="1.2.3")
    (tmp_path / "a" / "notes.txt").write_text("no DICOM")
    found = find_series(tmp_path).series
    assert [(series.folder.name, series.number, series.flair) for series in found] == [
        ("deep", "3", True),
        ("b", "9", False),
        ("b", "10", True),
    ]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"0008|103e": "Sag 3D FLAIR"}, True),
        ({"0018|1030": "t2_spc_da-fl_dark-fluid"}, True),
        ({"0018|0024": "*tirB_TIRM"}, True),
        ({"0008|103e": "brain", "0018|0082": "2500", "0018|0081": "120"}, True),
        ({"0008|103e": "FLAIR", "0018|0082": "1650", "0018|0081": "10"}, True),
        ({"0008|103e": "Ax T1 FLAIR"}, False),
        ({"0008|103e": "Ax T1 FLAIR", "0018|0082": "860", "0018|0081": "25"}, False),
        ({"0008|103e": "MP2RAGE", "0018|0082": "2700", "0018|0081": "3"}, False),
        ({"0008|103e": "T2 tse", "0018|0081": "100"}, False),
        ({"0008|103e": "FLAIR", "0018|0082": "n/a"}, True),
        ({}, False),
    ],
)
def test_flair_is_told_by_its_name_and_times(header: dict[str, str], expected: bool) -> None:
    assert looks_like_flair(header) is expected


def test_missing_slices_are_refused(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, VALUES)[2].unlink()
    (series,) = find_series(tmp_path).series
    with pytest.raises(InputError, match=r"missing or unevenly spaced: steps from 3 to 6 mm$"):
        read_series(series.folder, series.files)


def test_a_slice_that_is_there_twice_is_named(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, VALUES)
    for path in write_series(tmp_path / "again", VALUES):
        path.rename(tmp_path / f"again_{path.name}")
    (series,) = find_series(tmp_path).series
    with pytest.raises(InputError, match=r"1_005\.dcm and again_1_005\.dcm are the same slice"):
        read_series(series.folder, series.files)


def test_files_that_are_cut_short_are_named(tmp_path: Path, write_series: Write) -> None:
    paths = write_series(tmp_path, VALUES)
    paths[-1].write_bytes(paths[-1].read_bytes()[:-50])
    (series,) = find_series(tmp_path).series
    assert series.problem.endswith(f"1 DICOM files cannot be read ({paths[-1].name}: is cut short)")
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    (series,) = find_series(tmp_path).series
    assert (series.files, series.flair) == ((), True)
    assert "5 DICOM files cannot be read (1_001.dcm, 1_002.dcm, " in series.problem


def test_only_files_that_say_so_are_dicom(tmp_path: Path, write_series: Write) -> None:
    paths = write_series(tmp_path, VALUES)
    assert is_dicom(paths[0])
    directory = paths[1].rename(tmp_path / "DICOMDIR")
    short = tmp_path / "short"
    short.write_bytes(b"DICM")
    assert not any(map(is_dicom, (directory, short, tmp_path / "absent")))
