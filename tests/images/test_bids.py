"""The FLAIR volumes of a data set in BIDS, by the names of its files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.bids import DESCRIPTION, find_flair
from nnunetv2_sa_unet.text import printable


def data_set(folder: Path, *names: str) -> Path:
    """Empty files: no image is opened."""
    for name in ("dataset_description.json", *names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_entities_are_those_of_the_name_and_of_the_subjects_folders(tmp_path: Path) -> None:
    source = data_set(
        tmp_path / "sub-acute" / "ses-9" / "study",
        "sub-01/ses-a/anat/sub-01_ses-a_acq-3D_FLAIR.nii.gz",
        "sub-02/ses-b/anat/FLAIR.nii",
        "sub-03-x/anat/sub-03-x_word_FLAIR.nii.gz",
    )
    first, second, third = find_flair(source)[0]
    assert first.entities == {"sub": "01", "ses": "a", "acq": "3D"}
    assert first.place == Path("sub-01/ses-a/anat/sub-01_ses-a_acq-3D_FLAIR.nii.gz")
    assert second.entities == {"sub": "02", "ses": "b"}
    assert (third.entities, third.words, third.suffix) == ({"sub": "03-x"}, ("word",), "FLAIR")


@pytest.mark.parametrize(
    ("name", "reason", "harmless"),
    [
        ("sub-01/anat/sub-01_part-phase_FLAIR.nii.gz", "the phase of a complex image", True),
        ("sub-01/anat/sub-01_part-real_FLAIR.nii.gz", "the real part of a complex image", True),
        ("sub-01/anat/sub-01_flair.nii.gz", "the last part of its name is flair", False),
        ("sub-01/anat/sub-01_FLAIR_defaced.nii.gz", "the last part of its name is defaced", False),
        ("sub-01/anat/sub-01_acq-flair_T1w.nii.gz", "the last part of its name is T1w", True),
        ("sub-01/anat/sub-01_FLAIR.mgz", "FreeSurfer's format is not read", False),
        ("sub-01/anat/sub-02_FLAIR.nii.gz", "lies in sub-01, but its name says sub-02", False),
        ("sub-01/ses-1/anat/sub-01_ses-2_FLAIR.nii.gz", "lies in ses-1, but its name says ses-2", False),
        ("sub-01_FLAIR.nii.gz", "does not lie in a folder sub-", False),
        ("other/sub-01/anat/sub-01_FLAIR.nii.gz", "does not lie in a folder sub-", False),
    ],
)
def test_what_is_not_read_is_named_with_the_reason(tmp_path: Path, name: str, reason: str, harmless: bool) -> None:
    good = "sub-01/anat/sub-01_part-mag_FLAIR.nii.gz"
    volumes, (other,) = find_flair(data_set(tmp_path, good, name))
    assert [volume.place.as_posix() for volume in volumes] == [good]
    assert (other.path, other.harmless) == (tmp_path / name, harmless)
    assert reason in other.reason


def test_other_images_and_what_is_derived_are_no_matter(tmp_path: Path) -> None:
    names = ["sub-01/anat/sub-01_FLAIR.nii.gz", "sub-01/anat/sub-01_FLAIR.json", "sub-01/anat/sub-01_T1w.nii.gz"]
    derived = [f"{folder}/sub-01/anat/sub-01_FLAIR.nii.gz" for folder in ("derivatives/x", "sourcedata", ".git/annex")]
    volumes, passed_over = find_flair(data_set(tmp_path, *names, *derived))
    assert [volume.place.as_posix() for volume in volumes] == names[:1]
    assert passed_over == []


def test_a_folder_that_is_no_data_set_or_has_no_flair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a BIDS data set: there is no dataset_description"):
        find_flair(tmp_path)
    source = data_set(tmp_path, "sub-01/anat/sub-01_flair.nii.gz")
    with pytest.raises(InputError, match=r"no FLAIR; expected files such as .*\n  .*sub-01_flair.nii.gz: not read as"):
        find_flair(source)


def test_a_link_to_a_file_that_was_not_fetched_is_a_volume_that_will_be_missed(tmp_path: Path) -> None:
    source = data_set(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (source / "sub-01/anat/sub-01_FLAIR.nii.gz").symlink_to("../../.git/annex/objects/absent")
    assert [volume.path.name for volume in find_flair(source)[0]] == ["sub-01_FLAIR.nii.gz"]


def test_subjects_of_which_nothing_was_fetched_are_named(tmp_path: Path) -> None:
    source = data_set(tmp_path, "sub-01/anat/sub-01_FLAIR.nii.gz", "derivatives/fs/sub-01/mri/FLAIR.mgz")
    (source / "sub-02").mkdir()
    (source / "sub-03").symlink_to("/annex/nowhere")
    (source / "sub-04" / "anat").mkdir(parents=True)
    (source / "sub-01" / "tmp").mkdir()
    left_out = find_flair(source)[1]
    assert {each.path.relative_to(source).as_posix() for each in left_out} == {"sub-02", "sub-03", "sub-04/anat"}
    assert not any(each.harmless for each in left_out)


def test_the_ending_of_a_name_is_its_last(tmp_path: Path) -> None:
    (volume,) = find_flair(data_set(tmp_path, "sub-01/anat/sub-01_acq-a.nii_FLAIR.nii.gz"))[0]
    assert volume.entities == {"sub": "01", "acq": "a.nii"}


#: What names of files in the field are put together from.
PARTS = st.sampled_from(
    ["sub-01", "sub-02", "sub-", "ses-1", "ses-2", "acq-3D", "run-1", "part-phase", "part-mag", "part-real", "echo-2"]
) | st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
SUFFIXES = st.sampled_from(["FLAIR", "flair", "T1w", "FLAIR_x", "mask", ""])
BIDS_ENDINGS = st.sampled_from([".nii.gz", ".nii", ".NII.GZ", ".json", ".mgz", ".nii.gz.part", ""])
PLACES = st.sampled_from(["sub-01/anat", "sub-01/ses-1/anat", "sub-02/anat", "sub-02", ".", "tmp/sub-01/anat"])
NAMES = st.tuples(PLACES, st.lists(PARTS, max_size=4), SUFFIXES, BIDS_ENDINGS)


def check_names(names: list[tuple[str, list[str], str, str]]) -> None:
    """Every FLAIR is a volume of the subject that both its name and its folders say, or is named with a reason."""
    with tempfile.TemporaryDirectory() as place:
        source = data_set(Path(place), "sub-09/anat/sub-09_FLAIR.nii.gz")
        written = set()
        for folder, parts, suffix, ending in names:
            path = source / folder / ("_".join([*parts, suffix]) + ending)
            if path.name.startswith(".") or len(path.name.encode()) > 200 or path.name in ("", DESCRIPTION):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            written.add(path)
        volumes, passed_over = find_flair(source)
        for volume in volumes:
            folder_of = volume.place.parts[0]
            assert f"sub-{volume.entities['sub']}" == folder_of
            assert all(
                f"ses-{volume.entities['ses']}" == part for part in volume.place.parts[:-1] if part.startswith("ses-")
            )
            assert volume.entities.get("part", "mag") == "mag"
        used = {volume.path for volume in volumes} | {each.path for each in passed_over}
        for path in written:
            if "flair" in path.name.lower() and path.suffix != ".json":
                assert path in used, path
        for each in passed_over:
            printable(each.path).encode()


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=5))
def test_names_of_any_kind_are_volumes_or_are_named(names: list[tuple[str, list[str], str, str]]) -> None:
    check_names(names)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=5))
def test_very_many_names(names: list[tuple[str, list[str], str, str]]) -> None:
    check_names(names)
