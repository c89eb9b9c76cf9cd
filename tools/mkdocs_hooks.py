"""Hooks of MkDocs: the pages of the site that docs/ does not hold, and links that work here as in the repository.

A page's links are written for the repository. Where one leaves docs/, its target becomes a part of the site, as
``repository/PATH``: a page if it is Markdown, else the file itself. A folder of the package leads to its page of the
Python reference.
"""

from __future__ import annotations

import argparse
import importlib
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nnunetv2_sa_unet"
#: The order of the first level; what is not here comes after, by name.
ORDER = ("index.md", "how-to", "reference", "explanation", "benchmarks", "gallery.md", "upstream", "repository")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, everything outside of docs/ that a page links to, and the references."""
    add = {"README.md"}
    seen: set[str] = set()
    for file in files.documentation_pages():
        add |= set(targets(f"docs/{file.src_uri}", file.content_string))
    while new := add - seen:
        for path in sorted(new):
            seen.add(path)
            if path.endswith(".md"):
                text = (ROOT / path).read_text(encoding="utf-8")
                add |= set(targets(path, text))
                files.append(File.generated(config, place_in_site(path), content=text))
            else:
                files.append(File.generated(config, place_in_site(path), abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    for room, text in python_reference():
        files.append(File.generated(config, f"reference/python/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Make the page's links lead to where its targets are in the site."""
    here = page.file.src_uri
    origin = place_in_repository(here)

    def moved(match: re.Match[str]) -> str:
        path = target(origin, match[1])
        if path is None:
            return match[0]
        return posixpath.relpath(place_in_site(path), posixpath.dirname(here) or ".") + (match[2] or "")

    return LINK.sub(moved, markdown)


def on_nav(nav: Navigation, **_: object) -> Navigation:
    """Put the first level in order."""

    def rank(item: object) -> tuple[int, str]:
        page = item
        while not isinstance(page, Page):
            page = page.children[0]  # type: ignore[attr-defined]
        first = page.file.src_uri.split("/")[0]
        return (ORDER.index(first) if first in ORDER else len(ORDER), first)

    nav.items.sort(key=rank)
    return nav


def target(origin: str, link: str) -> str | None:
    """The path in the repository that a link in a file leads to, or None where nothing is."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def targets(origin: str, text: str) -> Iterator[str]:
    """The files outside of docs/ that a page links to."""
    for match in LINK.finditer(text):
        path = target(origin, match[1])
        if path is not None and not path.startswith("docs/") and (ROOT / path).is_file():
            yield path


def place_in_site(path: str) -> str:
    """Where the site has a path of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        return f"reference/python/{path.split('/')[1] if '/' in path else 'index'}.md"
    return f"repository/{path}"


def place_in_repository(uri: str) -> str:
    """The other way round."""
    if uri == "index.md":
        return "README.md"
    return uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}"


def command_line() -> str:
    """What every command says of itself."""
    sys.path.insert(0, str(ROOT))
    # The width of the help, whatever terminal the site is made in.
    os.environ["COLUMNS"] = "100"
    os.environ["NO_COLOR"] = "1"
    commands = importlib.import_module(f"{PACKAGE}.commands.main").COMMANDS
    subparsers = argparse.ArgumentParser(prog="nnUNetv2_sa_unet").add_subparsers()
    for name in commands:
        importlib.import_module(f"{PACKAGE}.commands.{name.replace('-', '_')}").add_parser(subparsers)
    sections = [section for name in commands for section in helps(name, subparsers.choices[name])]
    return "\n".join(["# The command line", "As each command says it with `-h`; made from the parsers.", *sections])


def helps(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """A section for a command, and one for each of its own commands."""
    yield f"\n## {name}\n```text\n{parser.format_help()}```"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield f"\n### {name} {word}\n```text\n{below.format_help()}```"


def python_reference() -> Iterator[tuple[str, str]]:
    """A page for each room: its modules, whose docstrings mkdocstrings fills in."""
    folder = ROOT / PACKAGE
    single = [path.stem for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    functions = (
        f"`from {PACKAGE} import segment, score`: [segment](segmentation.md#{PACKAGE}.segmentation.function.segment), "
        f"[score](scores.md#{PACKAGE}.scores.function.score). Modules that belong to no room:\n"
    )
    yield "index", "\n".join(["# Python reference", functions, *(f"::: {PACKAGE}.{name}\n" for name in single)])
    for room in sorted(path.parent.name for path in folder.glob("*/__init__.py")):
        modules = sorted(path.relative_to(ROOT).with_suffix("") for path in (folder / room).rglob("*.py"))
        names = [".".join(path.parts).removesuffix(".__init__") for path in modules if path.parts[2] != "trainers"]
        yield room, "\n".join([f"# {room}", *(f"::: {name}\n" for name in names)])
