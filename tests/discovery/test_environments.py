"""The installations that labs have: what nnU-Net finds in each, and that nothing of nnU-Net breaks.

Each environment is layered over the one that runs the tests: links to all its packages but ours (and nnU-Net,
where that is to be editable), so nothing is downloaded and there is one torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import nnunetv2
import pytest

pytestmark = pytest.mark.skipif(
    not {"SA_UNET_WHEEL", "SA_UNET_SOURCE"} <= set(os.environ),
    reason="SA_UNET_WHEEL and SA_UNET_SOURCE are set by `make test`",
)

# The parent imports nothing: what the worker finds, it finds through the hook.
LOOK_UP = """
import importlib, json, multiprocessing, os, pickle, sys, warnings

def find(name):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("error", "the trainers of")  # as strict as a user can be
        found = None
        try:
            found = recursive_find_trainer_class_by_name(name)
        except RuntimeError as error:
            assert "Could not find" in str(error)
    ours = [str(warning.message) for warning in caught if "nnunetv2-sa-unet" in str(warning.message)]
    if found is None:
        return None, ours
    if name != "nnUNetTrainerMine":  # nnU-Net makes such a class anew at each look-up
        assert recursive_find_trainer_class_by_name(name) is found
        assert pickle.loads(pickle.dumps(found)) is found
    return found.__module__, ours

def look_up(names):
    import nnunetv2
    return {
        "nnunetv2": nnunetv2.__file__,
        "folders": os.environ.get("nnUNet_extTrainer"),
        "found": {name: find(name) for name in names},
    }

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps(pool.apply(look_up, (sys.argv[1:],))))
"""

OURS = "nnUNetTrainerSAUNet"
OUR_MODULE = "nnunetv2_sa_unet.nnunet.trainers"


class Environment:
    """A virtual environment over the packages of the one that runs the tests."""

    def __init__(self, folder: Path, without: str = "nnunetv2_sa_unet") -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        self.site = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
        base = folder / "base"
        base.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            # The package, its folder of metadata (name-version.dist-info) or its hook (name.pth).
            name = entry.name.split("-")[0].removesuffix(".pth")
            if name not in ("nnunetv2_sa_unet", without) and entry.name != "__pycache__":
                (base / entry.name).symlink_to(entry)
        (self.site / "base.pth").write_text(f"{base}\n")

    def run(self, *words: str | Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Python here, with no variable of nnU-Net or Python but those given."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("nnUNet_", "PYTHON", "SA_UNET_"))
        }
        return subprocess.run(
            [self.python, *words],
            env=inherited | {name: str(value) for name, value in variables.items()},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )

    def pip(self, *words: str | Path) -> None:
        """Run pip on this environment; it asks no registry."""
        call = [sys.executable, "-m", "pip", "--quiet", "--python", self.python, *words]
        done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {"PIP_NO_INDEX": "1"})
        assert done.returncode == 0, done.stdout + done.stderr

    def look_up(self, *names: str, **variables: str | Path) -> dict[str, Any]:
        """What nnU-Net finds in a spawned worker: for each name its module and the warnings."""
        script = self.folder / "look_up.py"
        script.write_text(LOOK_UP)
        done = self.run(script, *names, **variables)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def doctor(self, **variables: str | Path) -> tuple[int, dict[str, str], str]:
        """The doctor's status, the first word of its line for each subject, and all that it says."""
        done = self.run(self.folder / "bin" / "nnUNetv2_sa_unet", "doctor", **variables)
        assert done.stderr == ""
        lines = [line.split(None, 2) for line in done.stdout.splitlines() if line[:1].strip()]
        return done.returncode, {words[1]: words[0] for words in lines}, done.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


@pytest.fixture
def wheel() -> str:
    return os.environ["SA_UNET_WHEEL"]


@pytest.fixture
def my_trainers(tmp_path: Path) -> Path:
    """A folder that the user has in nnUNet_extTrainer."""
    folder = tmp_path / "my_trainers"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerMine(nnUNetTrainer): pass\n"
    )
    return folder


def modules_at_start(environment: Environment) -> set[str]:
    return set(environment.run("-c", "import sys; print(*sys.modules)").stdout.split())


def test_wheel_beside_a_regular_nnunet(environment: Environment, wheel: str, my_trainers: Path) -> None:
    before = modules_at_start(environment)
    environment.pip("install", "--no-deps", wheel)
    # Every start of the interpreter pays for these three and no more.
    assert modules_at_start(environment) - before == {
        "nnunetv2_sa_unet",
        "nnunetv2_sa_unet.discovery",
        "nnunetv2_sa_unet.discovery.startup",
    }
    seen = environment.look_up(OURS, "nnUNetTrainerMine", "nnUNetTrainer", nnUNet_extTrainer=my_trainers)
    assert seen["found"] == {
        OURS: [OUR_MODULE, []],
        "nnUNetTrainerMine": ["mine", []],
        "nnUNetTrainer": ["nnunetv2.training.nnUNetTrainer.nnUNetTrainer", []],
    }
    folders = [str(my_trainers), str(environment.site / "nnunetv2_sa_unet" / "discovery" / "trainers")]
    assert seen["folders"].split(os.pathsep) == folders


def test_wheel_beside_an_editable_nnunet_and_after_uninstall(tmp_path: Path, wheel: str) -> None:
    environment = Environment(tmp_path / "environment", without="nnunetv2")
    checkout = tmp_path / "nnUNet"
    shutil.copytree(Path(nnunetv2.__file__).parent, checkout / "nnunetv2")
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "nnunetv2"\nversion = "2.8.1"\n'
        '[tool.setuptools.packages.find]\ninclude = ["nnunetv2*"]\n'
    )
    environment.pip("install", "--no-deps", "--no-build-isolation", "--editable", checkout)
    before = sorted(environment.site.iterdir())

    environment.pip("install", "--no-deps", wheel)
    seen = environment.look_up(OURS, "nnUNetTrainer")
    assert Path(seen["nnunetv2"]).is_relative_to(checkout)
    assert seen["found"][OURS] == [OUR_MODULE, []]
    assert seen["found"]["nnUNetTrainer"][0] == "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"

    environment.pip("uninstall", "--yes", "nnunetv2-sa-unet")
    assert sorted(environment.site.iterdir()) == before
    seen = environment.look_up(OURS, "nnUNetTrainer")
    assert seen["folders"] is None
    assert seen["found"][OURS] == [None, []]
    assert seen["found"]["nnUNetTrainer"][0] == "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"


def test_ours_editable_needs_the_line_of_the_doctor(environment: Environment, tmp_path: Path) -> None:
    checkout, source = tmp_path / "checkout", os.environ["SA_UNET_SOURCE"]

    def not_of_the_source(folder: str, names: list[str]) -> set[str]:
        # What `make demo` writes; the package has a folder of that name, too.
        made = {"build", "demo"} if folder == source else set()
        return {
            name for name in names if name in made or name.startswith(".") or name.endswith((".egg-info", "cache__"))
        }

    shutil.copytree(source, checkout, ignore=not_of_the_source)
    environment.pip("install", "--no-deps", "--no-build-isolation", "--editable", checkout)
    overrides = "import importlib.resources as r; print(r.files('nnunetv2_sa_unet.plans_overrides'))"
    assert str(checkout / "plans_overrides") in environment.run("-c", overrides).stdout

    folders = {"nnUNet_raw": tmp_path, "nnUNet_preprocessed": tmp_path, "nnUNet_results": tmp_path}
    status, lines, text = environment.doctor(**folders)
    assert status == 1
    assert lines["start-up"] == "missing"
    assert lines[OURS] == "problem"
    export = next(line for line in text.splitlines() if "export nnUNet_extTrainer=" in line)
    value = export.split("export nnUNet_extTrainer=")[1]

    status, lines, text = environment.doctor(nnUNet_extTrainer=value, **folders)
    assert set(lines.values()) <= {"ok", "All"}, text
    assert status == 0


def test_ours_broken_on_purpose(environment: Environment, wheel: str, my_trainers: Path) -> None:
    environment.pip("install", "--no-deps", wheel)
    package = environment.site / "nnunetv2_sa_unet"
    (package / "nnunet" / "trainers.py").write_text("this is no Python\n")

    seen = environment.look_up(OURS, "nnUNetTrainerMine", "nnUNetTrainer", nnUNet_extTrainer=my_trainers)
    module, warnings = seen["found"][OURS]
    assert module is None
    assert len(warnings) == 1
    assert "SyntaxError" in warnings[0]
    assert "nnUNetv2_sa_unet doctor" in warnings[0]
    assert seen["found"]["nnUNetTrainerMine"] == ["mine", []]
    assert seen["found"]["nnUNetTrainer"][0] == "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"

    status, lines, text = environment.doctor(
        nnUNet_preprocessed=my_trainers / "mine.py", nnUNet_results="/proc" if os.path.isdir("/proc") else "/"
    )
    assert status == 1
    assert lines["start-up"] == "ok"
    assert lines["trainers"] == "problem"
    assert "SyntaxError" in text
    assert lines[OURS] == "problem"
    assert (lines["nnUNet_raw"], lines["nnUNet_preprocessed"]) == ("unset", "missing")
    assert lines["nnUNet_results"] == "problem"


@pytest.mark.parametrize(
    ("damage", "reported"),
    [("no package", True), ("no discovery", True), ("broken package", True), ("no trainers", False)],
)
def test_a_half_removed_package_stops_no_interpreter(
    environment: Environment, wheel: str, damage: str, reported: bool
) -> None:
    environment.pip("install", "--no-deps", wheel)
    package = environment.site / "nnunetv2_sa_unet"
    if damage == "no package":
        shutil.rmtree(package)
    elif damage == "no discovery":
        shutil.rmtree(package / "discovery")
    elif damage == "broken package":
        (package / "__init__.py").write_text("this is no Python\n")
    else:
        shutil.rmtree(package / "discovery" / "trainers")
    done = environment.run("-c", "print('alive')")
    assert (done.returncode, done.stdout) == (0, "alive\n")
    # `site` reports a hook that fails and goes on; from Python 3.15 on it is an entry point.
    assert bool(re.search("Error (processing line 1 of|resolving entry point)", done.stderr)) == reported


CALL_START_FILE = """
import os, pkgutil, sys
for line in open(sys.argv[1]):
    for _ in range(2):
        pkgutil.resolve_name(line.strip())()
print(os.environ["nnUNet_extTrainer"])
"""


def test_the_start_file_does_what_the_pth_file_does(environment: Environment, wheel: str) -> None:
    """As ``site`` of Python 3.15 does it: resolve ``module:callable``, call it; perhaps twice."""
    environment.pip("install", "--no-deps", wheel)
    pth, start = (environment.site / f"nnunetv2_sa_unet{suffix}" for suffix in (".pth", ".start"))
    folder = environment.site / "nnunetv2_sa_unet" / "discovery" / "trainers"
    telling = environment.run("-c", "import os; print(os.environ.get('nnUNet_extTrainer'))").stdout
    assert telling == f"{folder}\n"
    pth.unlink()
    if sys.version_info < (3, 15):
        assert environment.run("-c", "import os; print(os.environ.get('nnUNet_extTrainer'))").stdout == "None\n"
    else:
        assert environment.run("-c", "import os; print(os.environ.get('nnUNet_extTrainer'))").stdout == telling
    assert environment.run("-c", CALL_START_FILE, start).stdout == telling
