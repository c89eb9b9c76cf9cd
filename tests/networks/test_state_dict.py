"""Weights of models that were trained load as long as the keys stay; these are the keys of version 0.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).with_name("data") / "state_dicts.txt"


def keys_in_file() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = []
        else:
            found[list(found)[-1]].append(line)
    return found


@pytest.mark.parametrize("name", list(keys_in_file()))
def test_keys_and_shapes_of_state_dicts_stay(networks: dict[str, Any], name: str) -> None:
    state = networks[name].build().state_dict()
    # nnU-Net's blocks hold their modules under two names.
    assert [f"{key} {' '.join(map(str, value.shape)) or '-'}" for key, value in state.items()] == keys_in_file()[name]
