"""The report of a folder: what it says, what it leaves, and what it survives."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.report import write_report
from nnunetv2_sa_unet.segmentation.record import LeftOut
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation, write_segmentation

#: Boxes (z, y, x) in the head of conftest.py: in the brain, in the scalp, at the lowest slice.
INSIDE = (slice(6, 8), slice(60, 64), slice(30, 36))
ALSO_INSIDE = (slice(9, 10), slice(40, 43), slice(50, 53))
SCALP = (slice(7, 8), slice(7, 9), slice(40, 44))
LOWEST = (slice(0, 1), slice(50, 52), slice(40, 42))


def section(page: str, anchor: str) -> str:
    """The words of a subject's section, without its marks."""
    (found,) = re.findall(rf'<section class="subject[^>]*id="subject-{anchor}".*?</section>', page, re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found)))


def row(page: str, anchor: str) -> dict[str, str]:
    """A row of the table by the heads of its columns."""
    table = re.search(r'<table id="subjects">.*?</table>', page, re.DOTALL)
    assert table
    heads = re.findall(r"<th scope=\"col\".*?<button[^>]*>(.*?)</button>", table[0])
    (found,) = re.findall(rf'<tr>\s*<th[^>]*><a href="#subject-{anchor}".*?</tr>', table[0], re.DOTALL)
    cells = [
        html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
        for cell in re.findall(r"<t[hd].*?</t[hd]>", found, re.DOTALL)
    ]
    return dict(zip(map(html.unescape, heads), cells, strict=True))


def everything(folder: Path) -> dict[str, bytes]:
    """All files of a report by name."""
    files = [folder / "report.html", *(path for path in (folder / "report").rglob("*") if path.is_file())]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_findings_worth_a_look_stand_in_the_table_and_in_the_section(make_run: Any, make_head: Any) -> None:
    run = make_run()
    run.add("clean", make_head().add(*INSIDE))
    run.add("odd", make_head(1).add(*INSIDE).add(*SCALP).add(*LOWEST), message="slices are thick")
    run.add("none", make_head(2))
    page = write_report(run.write()).read_text(encoding="utf-8")
    assert row(page, "clean")["Worth a look"] == ""
    assert row(page, "odd")["Worth a look"] == "outside brain cut by edge"
    assert (row(page, "odd")["WMH ml"], row(page, "odd")["Lesions"]) == ("1.44", "3")
    assert (row(page, "none")["WMH ml"], row(page, "none")["Lesions"]) == ("0.00", "0")
    assert row(page, "odd")["Status"] == "warning"
    words = section(page, "odd")
    assert "slices are thick" in words
    assert "2 lesions (0.29 ml) lie outside the brain" in words
    assert "1 lesion (0.10 ml) lies at the edge of the volume" in words
    assert "right is on the left" in page


def test_an_unusual_volume_is_flagged_from_ten_subjects_on(make_run: Any, make_head: Any) -> None:
    run = make_run()
    for index in range(9):
        run.add(f"s{index}", make_head(index).add(slice(6, 7), slice(60, 63 + index), slice(30, 36)))
    folder = run.write()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "not asked" in page
    run.add("most", make_head().add(slice(3, 11), slice(20, 80), slice(20, 60)))
    run.write()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "not asked" not in page
    assert [row(page, f"s{index}")["Worth a look"] for index in range(9)] == [""] * 9
    assert row(page, "most")["Worth a look"] == "volume"
    assert "much larger than the cohort's" in section(page, "most")


def test_references_give_metrics_false_positives_and_misses(make_run: Any, make_head: Any, tmp_path: Path) -> None:
    run = make_run()
    head = make_head().add(*INSIDE).add(*SCALP)
    run.add("a", head)
    truth = make_head().add(*INSIDE).add(*ALSO_INSIDE).labels
    references = tmp_path / "references"
    references.mkdir()
    SimpleITK.WriteImage(head.image(truth), str(references / "a.nii.gz"))
    page = write_report(run.write(), references).read_text(encoding="utf-8")
    found = row(page, "a")
    assert (found["False +"], found["Missed"], found["Recall"], found["F1"]) == ("1", "1", "0.50", "0.50")
    # 48 voxels of 56 and of 57.
    assert found["Dice"] == f"{2 * 48 / (56 + 57):.2f}"
    for kind in ("wmh", "reference", "false", "missed"):
        assert re.search(rf'<div class="tile".*<path class="{kind}" d="M', page), kind
    assert "missed" in section(page, "a")
    assert "false positive" in section(page, "a")


def test_references_that_cannot_be_used_are_named_and_the_rest_goes_on(
    make_run: Any, make_head: Any, tmp_path: Path
) -> None:
    run = make_run()
    references = tmp_path / "references"
    references.mkdir()
    head = make_head().add(*INSIDE)
    for name in ("good", "shifted", "cut", "mask255", "absent", "twice"):
        run.add(name, head)
        if name != "absent":
            image = head.image(head.labels * np.uint8(255 if name == "mask255" else 1))
            if name == "shifted":
                image.SetOrigin((0.0, 0.0, 0.0))
            SimpleITK.WriteImage(image, str(references / f"{name}.nii.gz"))
    shutil.copy(references / "good.nii.gz", references / "stranger.nii.gz")
    shutil.copy(references / "good.nii.gz", os.fsencode(references) + b"/m\xfcller.nii.gz")  # no UTF-8
    SimpleITK.WriteImage(head.image(head.labels), str(references / "twice.nii"))
    cut = references / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-40])
    page = write_report(run.write(), references).read_text(encoding="utf-8")
    assert row(page, "good")["Dice"] == "1.00"
    for name in ("shifted", "cut", "mask255", "absent", "twice"):
        assert row(page, name)["Dice"] == "–", name
    assert "reference is not on the mask's grid and was left out: origin (0, 0, 0)" in section(page, "shifted")
    assert "cannot be read" in section(page, "cut")
    assert "reference values 255 and no label 1" in section(page, "mask255")
    words = html.unescape(page)
    assert "absent: no reference in" in words
    assert "twice: twice.nii and twice.nii.gz: keep one of them" in words
    assert r"no subject is called m\xfcller, stranger" in words


def test_what_is_missing_is_said_and_the_rest_is_shown(make_run: Any, make_head: Any) -> None:
    run = make_run()
    for name in ("whole", "no-image", "no-mask", "no-map", "other-grid"):
        run.add(name, make_head().add(*INSIDE), probabilities=True)
    run.fail("broken", "FLAIR is 4D")
    folder = run.write()
    (run.inputs / "1.nii.gz").unlink()
    (folder / "2_wmh.nii.gz").unlink()
    (folder / "3_wmh_prob.nii.gz").write_bytes(b"")
    SimpleITK.WriteImage(SimpleITK.Image(5, 5, 5, SimpleITK.sitkInt16), str(run.inputs / "4.nii.gz"))
    page = write_report(folder).read_text(encoding="utf-8")
    written = everything(folder)
    for name, words in {
        "no-image": "1.nii.gz: there is no such file",
        "no-mask": "2_wmh.nii.gz: there is no such file",
        "no-map": "probability map: ",
        "other-grid": "FLAIR image is not on the mask's grid and was left out: size (5, 5, 5)",
        "broken": "FLAIR is 4D",
    }.items():
        assert words in section(page, name), name
        assert (f"report/volumes/{name}.js" in written) == (name == "no-map")
    # The numbers of the record and the outlines are there without the image.
    assert row(page, "no-image")["WMH ml"] == "1.15"
    assert re.search(r'id="subject-no-image".*?<path class="wmh" d="M', page, re.DOTALL)
    assert "Without its image there is no viewer" in section(page, "no-image")
    assert "report/volumes/whole.js" in written


@pytest.mark.parametrize(
    ("shape", "direction"),
    [
        ((1, 60, 50), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        ((3, 2, 4), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        ((40, 30, 20), (0, 0, -1, 1, 0, 0, 0, -1, 0)),
    ],
    ids=["one slice", "a few voxels", "sagittal slices"],
)
@pytest.mark.parametrize("lesion", [True, False])
def test_volumes_of_any_shape_and_orientation_are_shown(
    make_run: Any, make_head: Any, shape: tuple[int, int, int], direction: tuple[int, ...], lesion: bool
) -> None:
    class Odd:
        flair = np.random.default_rng(0).normal(100, 9, shape)
        labels = np.zeros(shape, np.uint8)

        @staticmethod
        def image(array: Any) -> SimpleITK.Image:
            image = SimpleITK.GetImageFromArray(array)
            image.SetDirection(direction)
            return image

    Odd.labels[shape[0] // 2, 1, 2] = lesion
    run = make_run()
    run.add("odd", Odd(), probabilities=True)
    folder = run.write()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "report/volumes/odd.js" in everything(folder)
    assert ('<path class="wmh" d="M' in page.split('id="sections"')[1]) == lesion
    # The slices are axial: with sagittal ones as stored, one for each row.
    assert page.count('class="tile"') == min(20, shape[1] if shape[0] == 40 else shape[0])


def test_names_and_messages_are_shown_as_they_are_and_never_run(make_run: Any, make_head: Any) -> None:
    run = make_run()
    name = "a/../<b>&\"'"
    run.add(name, make_head().add(*INSIDE))
    run.fail("x", "</p><script>alert(1)</script>")
    folder = run.write()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert html.escape(name, quote=False) in html.escape(html.unescape(page), quote=False)
    pictures = [file for file in everything(folder) if file.startswith("report/slices/")]
    assert len(pictures) == 1
    assert re.fullmatch(r"report/slices/[A-Za-z0-9-]+\.jpg", pictures[0])
    assert pictures[0] in page


def test_the_same_folder_gives_the_same_bytes_and_removed_subjects_take_their_files_along(
    make_run: Any, make_head: Any
) -> None:
    run = make_run()
    for name in ("stays", "goes"):
        run.add(name, make_head().add(*INSIDE), probabilities=True)
    folder = run.write()
    write_report(folder)
    first = everything(folder)
    write_report(folder)
    assert everything(folder) == first
    note = folder / "report" / "volumes" / "note.txt"
    note.write_text("mine")
    run.subjects.pop()
    run.write()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "goes" not in page
    gone = first.keys() - everything(folder).keys()
    assert gone == {"report/slices/goes.jpg", "report/volumes/goes.js"}
    assert note.read_text() == "mine"


def test_a_list_of_files_that_points_elsewhere_removes_nothing_there(make_run: Any, make_head: Any) -> None:
    run = make_run()
    run.add("a", make_head().add(*INSIDE))
    folder = run.write()
    write_report(folder)
    listed = folder / "report" / "files.json"
    listed.write_text(json.dumps(["../0_wmh.nii.gz", str(folder / "volumes.csv"), 7]))
    write_report(folder)
    assert (folder / "0_wmh.nii.gz").is_file()
    assert (folder / "volumes.csv").is_file()
    listed.write_text("not JSON")
    write_report(folder)
    assert "slices/a.jpg" in json.loads(listed.read_text())


@pytest.mark.parametrize("place", ["report", "report/slices", "report/volumes"])
def test_a_link_in_the_folder_leads_nothing_out_of_it(
    make_run: Any, make_head: Any, tmp_path: Path, place: str
) -> None:
    run = make_run()
    run.add("a", make_head().add(*INSIDE))
    folder = run.write()
    write_report(folder)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("mine")
    shutil.rmtree(folder / place)
    (folder / place).symlink_to(victim)
    (folder / "report.html").unlink()
    with pytest.raises(InputError, match="leads out of"):
        write_report(folder)
    assert [path.name for path in victim.iterdir()] == ["thesis.txt"]


def test_a_report_that_was_stopped_leaves_the_old_page_and_its_files_are_known(
    make_run: Any, make_head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    run.add("a", make_head().add(*INSIDE))
    folder = run.write()
    old = write_report(folder).read_bytes()
    run.add("b", make_head(1).add(*INSIDE))
    run.write()
    with monkeypatch.context() as patch:
        patch.setattr("nnunetv2_sa_unet.report.writing.render_page", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report(folder)
    assert (folder / "report.html").read_bytes() == old
    # What a process that was killed cannot remove.
    for name in (".report.html.abcd1234.html", "report/volumes/.b.js.abcd1234.js"):
        (folder / name).write_text("half")
    run.subjects.pop()
    run.write()
    write_report(folder)
    assert [path.name for path in (folder / "report" / "volumes").iterdir()] == ["a.js"]
    assert not list(folder.glob(".report*"))


def test_a_folder_without_a_record_or_without_references_is_refused(
    make_run: Any, make_head: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"volumes\.json: there is no such file"):
        write_report(tmp_path)
    run = make_run()
    run.add("a", make_head())
    with pytest.raises(InputError, match="no such folder"):
        write_report(run.write(), tmp_path / "nowhere")


def test_a_cohort_without_any_mask_has_a_page(make_run: Any) -> None:
    run = make_run()
    folder = run.write()
    assert read_segmentation(folder).subjects == []
    assert "0 subjects" in write_report(folder).read_text(encoding="utf-8")
    run.fail("broken", "all zero")
    run.write()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "all zero" in section(page, "broken")
    assert '<h2 id="distribution">' not in page


def test_what_was_looked_at_and_not_used_is_on_the_page(make_run: Any, make_head: Any) -> None:
    run = make_run()
    run.add("a", make_head().add(*INSIDE))
    folder = run.write()
    left_out = [
        LeftOut(path="in/<b>.mgz", reason="FreeSurfer's format is not read", harmless=False),
        LeftOut(path="in/SR", reason="holds no image", harmless=True),
    ]
    write_segmentation(folder, read_segmentation(folder).model_copy(update={"left_out": left_out}))
    page = write_report(folder).read_text(encoding="utf-8")
    missed, passed = page.index("Looked at, and not used:"), page.index("Passed over as nothing to segment: 1")
    assert missed < page.index("in/&lt;b&gt;.mgz: FreeSurfer&#39;s format is not read") < passed < page.index("in/SR")
    assert "<b>" not in page
