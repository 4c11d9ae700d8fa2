"""What the kernel counted, in made-up folders of both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from load_tests.cgroup import peak_mb


def lay(root: Path, line: str, folder: str, peak: str, members: str) -> tuple[Path, Path]:
    """The files of process 7 and of its group."""
    proc, groups = root / "proc", root / "groups"
    (proc / "7").mkdir(parents=True)
    (proc / "7" / "cgroup").write_text(f"12:cpu:/other\n{line}\n")
    (groups / folder).mkdir(parents=True)
    (groups / folder / peak).write_text("250000000\n")
    (groups / folder / "cgroup.procs").write_text(members)
    return groups, proc


@pytest.mark.parametrize(
    ("line", "folder", "peak"),
    [
        ("0::/server", "server", "memory.peak"),
        ("4:memory:/server", "memory/server", "memory.max_usage_in_bytes"),
    ],
)
def test_the_peak_of_a_group_of_its_own_is_read(
    tmp_path: Path, line: str, folder: str, peak: str
) -> None:
    groups, proc = lay(tmp_path, line, folder, peak, "7\n8\n")
    assert peak_mb([7, 8, 9], groups, proc) == 250.0


def test_a_group_with_others_in_it_says_nothing(tmp_path: Path) -> None:
    groups, proc = lay(tmp_path, "0::/", "", "memory.peak", "1\n7\n")
    assert peak_mb([7], groups, proc) is None


def test_without_control_groups_there_is_no_peak(tmp_path: Path) -> None:
    assert peak_mb([7], tmp_path, tmp_path) is None
