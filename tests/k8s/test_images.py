"""What the Containerfiles put into images is what the images run."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.k8s.conftest import ROOT, rendered

IMAGES = ROOT / "k8s" / "images"


def copied(name: str) -> dict[str, str]:
    """Source -> target of every COPY from the checkout; a target that is a folder ends with /."""
    found: dict[str, str] = {}
    text = (IMAGES / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, target = line.split()
        found |= dict.fromkeys(sources, target)
    return found


def test_the_tools_image_has_every_package_and_module_of_the_project() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.partition(".")[0] for name in setuptools["packages"]}
    modules = {f"{name}.py" for name in setuptools["py-modules"]}
    found = copied("tools.Containerfile")
    assert packages | modules <= found.keys()
    assert all(found[package] == package for package in packages), "a folder keeps its name"


def test_the_tools_image_has_the_files_that_the_build_of_the_project_reads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    read = {"pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]}
    assert read <= copied("tools.Containerfile").keys()


def test_what_is_copied_is_in_the_checkout() -> None:
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout; nobody says which files belong to it")
    paths = {Path(name) for name in done.stdout.split("\0") if name}
    there = {each.as_posix() for path in paths for each in (path, *path.parents)}
    assert copied("tools.Containerfile").keys() <= there


def test_files_that_the_jobs_start_are_in_their_image() -> None:
    found = copied("tools.Containerfile")
    started = [
        word
        for name in ("loadtest", "train")
        for job in rendered(name).workloads
        for word in job.container["args"]
        if word.endswith(".py")
    ]
    assert started
    for word in started:
        assert (ROOT / word).is_file()
        assert word in found or word.partition("/")[0] in found
