"""Make a release of the tree that is checked out: versions, changelog, commit and tag.

    python tools/release.py 0.2.0            # what `make release VERSION=0.2.0` runs
    python tools/release.py 0.2.0 --check    # whether this tree is that release; for the workflow that publishes

The version stands in ``nnunetv2_sa_unet/__init__.py``. A release copies it, with the date, into the heading of the
changelog and into CITATION.cff. Everything is checked before anything is written, and what fails after that is taken
back, so that there is either a release or the tree as it was.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

PACKAGE = "nnunetv2_sa_unet/__init__.py"
CHANGELOG = "CHANGELOG.md"
CITATION = "CITATION.cff"


class ReleaseError(Exception):
    """Why there is no release, in one line."""


def git(*words: str) -> str:
    """What git prints; its own words become the reason where it fails."""
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    if done.returncode:
        last_words = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["without a word"]
        raise ReleaseError(f"git {words[0]} ended with status {done.returncode}: {last_words[0]}")
    return done.stdout.strip()


def read_version(text: str) -> Version:
    """A version as packaging tools write it: 1.2.3, or 1.2.3rc1.

    Raises:
        ReleaseError: it is something else.
    """
    try:
        version = Version(text)
    except InvalidVersion:
        raise ReleaseError(f"{text!r} is no version; expected one like 0.2.0 or 0.2.0rc1") from None
    if str(version) != text or len(version.release) != 3 or version.epoch or version.local or version.is_devrelease:
        raise ReleaseError(f"{text!r} is not how a release is called; expected one like 0.2.0 or 0.2.0rc1")
    return version


def current_version() -> Version:
    """The version of the tree."""
    found = re.findall(r'^__version__ = "(.*)"$', Path(PACKAGE).read_text(encoding="utf-8"), re.MULTILINE)
    if len(found) != 1:
        raise ReleaseError(f"{PACKAGE}: {len(found)} lines that set __version__; expected one")
    return read_version(found[0])


def replaced(path: str, pattern: str, new: str) -> str:
    """The file's text with the one place that matches replaced."""
    text, times = re.subn(pattern, lambda _: new, Path(path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    if times != 1:
        raise ReleaseError(f"{path}: {times} places match {pattern!r}; expected one")
    return text


def new_texts(version: Version, date: datetime.date) -> dict[str, str]:
    """What the release changes: path and new text."""
    changes = Path(CHANGELOG).read_text(encoding="utf-8")
    notes = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## \[|\Z)", changes, re.MULTILINE | re.DOTALL)
    if notes is None or not re.search(r"^- ", notes[1], re.MULTILINE):
        raise ReleaseError(f"{CHANGELOG}: nothing stands under [Unreleased]; expected what users will notice")
    citation = re.sub(
        r"^(version|date-released): .*\n", "", Path(CITATION).read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {
        PACKAGE: replaced(PACKAGE, r'^__version__ = ".*"$', f'__version__ = "{version}"'),
        CHANGELOG: replaced(CHANGELOG, r"^## \[Unreleased\]$", f"## [Unreleased]\n\n## [{version}] - {date}"),
        CITATION: citation.rstrip("\n") + f"\nversion: {version}\ndate-released: {date}\n",
    }


def check_place(version: Version) -> None:
    """A clean tree, and a version that is newer than every other.

    Raises:
        ReleaseError: this is not the place or the version for a release.
    """
    if Path(git("rev-parse", "--show-toplevel")).resolve() != Path.cwd().resolve():
        raise ReleaseError("run it at the top of the repository")
    if changed := git("status", "--porcelain").splitlines():
        raise ReleaseError(
            f"the tree is not clean ({len(changed)} files, {changed[0].split()[-1]} among them): commit first"
        )
    tags = [tag for tag in git("tag", "--list", "v*").splitlines() if re.fullmatch(r"v\d+\.\d+\.\d+\w*", tag)]
    if f"v{version}" in tags:
        raise ReleaseError(f"the tag v{version} is there already")
    newest = max((Version(tag[1:]) for tag in tags), default=None)
    if newest is not None and version <= newest:
        raise ReleaseError(f"{version} is not newer than {newest}, the newest tag")
    if version < (current := current_version()):
        raise ReleaseError(f"{version} is older than {current}, which {PACKAGE} names")


def release(version: Version, date: datetime.date) -> None:
    """Write, commit and tag, or leave the tree as it was."""
    check_place(version)
    texts = new_texts(version, date)
    before = git("rev-parse", "HEAD")
    try:
        for path, text in texts.items():
            Path(path).write_text(text, encoding="utf-8")
        git("commit", "--quiet", "--message", f"Release {version}", "--", *texts)
        git("tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    except BaseException:
        # The tree was clean, so nothing but the release is lost.
        git("reset", "--quiet", "--hard", before)
        raise


def check_released(version: Version) -> None:
    """Whether the files that are checked out are this release.

    Raises:
        ReleaseError: one of them names another version.
    """
    if version != current_version():
        raise ReleaseError(f"{PACKAGE} names {current_version()}; expected {version}")
    for path, line in ((CHANGELOG, rf"^## \[{re.escape(str(version))}\] - "), (CITATION, rf"^version: {version}$")):
        if not re.search(line, Path(path).read_text(encoding="utf-8"), re.MULTILINE):
            raise ReleaseError(f"{path} does not name {version}; `make release VERSION={version}` writes it")


def main() -> int:
    """Run the command line; 1 and one line if there is no release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("--check", action="store_true", help="change nothing: is this tree that release?")
    args = parser.parse_args()
    try:
        version = read_version(args.version)
        if args.check:
            check_released(version)
        else:
            release(version, datetime.datetime.now(datetime.timezone.utc).date())
            print(f"v{version} is made here. It is published by: git push --follow-tags")
    except ReleaseError as reason:
        print(f"error: no release: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
