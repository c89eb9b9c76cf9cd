"""What the page is made of is what its notice says."""

from __future__ import annotations

import hashlib
import re

from nnunetv2_sa_unet.report.page import ASSETS, SCRIPTS_AND_STYLES


def test_niivue_is_the_published_file_of_the_notice() -> None:
    notice = (ASSETS / "NOTICE.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((ASSETS / "niivue.umd.js").read_bytes()).hexdigest()
    assert f"SHA-256: `{digest}`" in notice
    assert "version 0.69.0" in notice
    assert "Redistributions in binary form must reproduce" in notice


def test_all_assets_are_there_and_reach_for_nothing_outside() -> None:
    assert {path.name for path in ASSETS.iterdir()} == {*SCRIPTS_AND_STYLES, "page.html"}
    for name in ("page.html", "page.css", "page.js", "viewer.js"):
        words = (ASSETS / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]+\.|@import|fetch\(|XMLHttpRequest|import\(|type=.module", words), name
