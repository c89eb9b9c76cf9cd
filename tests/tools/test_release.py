"""`make release`: all of it or nothing, in a small repository of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FILES = {
    "nnunetv2_sa_unet/__init__.py": '"""Text."""\n\n__version__ = "0.1.0"\n',
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n### Added\n- Something.\n\n## [0.0.9] - 2025-01-01\n- Old.\n",
    "CITATION.cff": "cff-version: 1.2.0\ntitle: t\nversion: 0.0.9\ndate-released: 2025-01-01\n",
}
Run = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Run:
    """Git in a new repository with one commit, free of the user's settings."""
    setting = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(*words: str) -> str:
        call = ["git", "-c", "user.name=Me", "-c", "user.email=me@localhost", *words]
        done = subprocess.run(call, cwd=tmp_path, env=os.environ | setting, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    run("init", "--quiet")
    run("config", "user.name", "Me")
    run("config", "user.email", "me@localhost")
    run("add", ".")
    run("commit", "--quiet", "--message", "First")
    return run


@pytest.fixture
def release(source_tree: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    script = source_tree / "tools" / "release.py"

    def run(*words: str) -> tuple[int, str]:
        setting = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        call = [sys.executable, str(script), *words]
        done = subprocess.run(call, cwd=tmp_path, env=os.environ | setting, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_release_changes_what_must_change(tmp_path: Path, git: Run, release: Callable[..., tuple[int, str]]) -> None:
    assert release("0.2.0rc1")[0] == 0
    assert git("status", "--porcelain") == ""
    assert git("cat-file", "-t", "v0.2.0rc1") == "tag"
    assert git("rev-parse", "v0.2.0rc1^{commit}") == git("rev-parse", "HEAD")
    assert '__version__ = "0.2.0rc1"' in (tmp_path / "nnunetv2_sa_unet/__init__.py").read_text()
    date = (tmp_path / "CITATION.cff").read_text().split("date-released: ")[1].strip()
    assert (tmp_path / "CITATION.cff").read_text().count("version: 0.2.0rc1") == 1
    changes = (tmp_path / "CHANGELOG.md").read_text()
    assert changes.startswith(f"# Changelog\n\n## [Unreleased]\n\n## [0.2.0rc1] - {date}\n### Added\n- Something.\n")
    assert release("0.2.0rc1", "--check")[0] == 0
    assert release("0.2.0", "--check") == (
        1,
        "error: no release: nnunetv2_sa_unet/__init__.py names 0.2.0rc1; expected 0.2.0\n",
    )
    # What is under [Unreleased] was released; the next one has nothing to say yet.
    status, text = release("0.2.0")
    assert (status, "nothing stands under [Unreleased]" in text) == (1, True)


def test_the_first_release_may_have_the_version_of_the_tree(git: Run, release: Callable[..., tuple[int, str]]) -> None:
    assert release("0.1.0") == (0, "v0.1.0 is made here. It is published by: git push --follow-tags\n")


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("0.1", "'0.1' is not how a release is called"),
        ("0.2.0.dev1", "'0.2.0.dev1' is not how a release is called"),
        ("v0.2.0", "'v0.2.0' is not how a release is called"),
        ("next", "'next' is no version"),
        ("0.0.10", "0.0.10 is older than 0.1.0, which nnunetv2_sa_unet/__init__.py names"),
        ("1.0.0", "the tag v1.0.0 is there already"),
        ("0.9.0", "0.9.0 is not newer than 1.0.0, the newest tag"),
    ],
)
def test_a_version_that_cannot_be_is_refused(
    git: Run, release: Callable[..., tuple[int, str]], version: str, reason: str
) -> None:
    if reason.endswith("tag") or "already" in reason:
        git("tag", "v1.0.0")
    head = git("rev-parse", "HEAD"), git("tag")

    status, text = release(version)

    assert status == 1
    assert text.startswith("error: no release: ")
    assert reason in text
    assert text.count("\n") == 1
    assert (git("rev-parse", "HEAD"), git("tag")) == head
    assert git("status", "--porcelain") == ""


def test_a_tree_that_is_not_clean_is_refused(tmp_path: Path, git: Run, release: Callable[..., tuple[int, str]]) -> None:
    (tmp_path / "new.txt").touch()
    status, text = release("0.2.0")
    assert (status, text) == (
        1,
        "error: no release: the tree is not clean (1 files, new.txt among them): commit first\n",
    )


@pytest.mark.parametrize("hook", ["pre-commit", "reference-transaction"])
def test_nothing_stays_half_done(tmp_path: Path, git: Run, release: Callable[..., tuple[int, str]], hook: str) -> None:
    # The first stops the commit; the second lets it pass and stops the tag.
    path = tmp_path / ".git" / "hooks" / hook
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + ("exit 1\n" if hook == "pre-commit" else "! grep -q refs/tags\n"))
    path.chmod(0o755)
    head = git("rev-parse", "HEAD")

    status, text = release("0.2.0")

    assert (status, text.count("\n")) == (1, 1)
    assert (git("rev-parse", "HEAD"), git("tag"), git("status", "--porcelain")) == (head, "", "")
    assert {name: (tmp_path / name).read_text() for name in FILES} == FILES
