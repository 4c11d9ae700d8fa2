"""Who may import whom (section "The way of the data" of the design), read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("services", "training", "export", "load_tests")
OURS = (*ROOMS, "commands", "transfer", "tests")
HEAVY = ("torch", "transformers", "optimum", "peft", "datasets", "sentence_transformers")
ALLOWED: dict[str, tuple[str, ...]] = {
    "services": ("services",),
    "training": ("training", "services"),
    "export": (
        *("export", "services", "training.evaluate", "training.bases"),
        *("training.checkpoint", "training.models"),  # the format of checkpoints, their loading
        *("training.held_out", "training.decoding"),  # what judges them, and on which rows
        *("training.calibration_error", "training.weak_spots", "training.studies.spread"),
        "training.metrics",
    ),
    "load_tests": (
        *("load_tests", "services", "training.energy"),
        *("export.plots", "export.sections"),  # how results are drawn, and put into documents
    ),
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module, with `from a import b` as a.b, and whether it is at the top level."""
    tree = ast.parse(path.read_text())
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node in top) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{name.name}", node in top) for name in node.names)


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(room)
        for module, _ in imports(path)
        if within(module, OURS) and not within(module, ALLOWED[room])
    ]
    assert wrong == []


def test_services_never_imports_what_trains() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("services")
        for module, _ in imports(path)
        if within(module, HEAVY)
    ]
    assert wrong == []


def test_the_command_line_imports_inside_its_verbs() -> None:
    command_line = [ROOT / "transfer.py", *sources("commands")]
    early = [
        module
        for path in command_line
        for module, top in imports(path)
        if top and within(module, ROOMS)
    ]
    # Two leaves that import nothing else: faults become exit codes, settings become defaults.
    leaves = ("services.errors", "services.settings")
    assert [module for module in early if not within(module, leaves)] == []


def test_the_environment_is_read_in_settings_alone() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in sources("services")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    ]
    assert readers == ["services/settings.py"]
