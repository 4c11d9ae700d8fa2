"""A folder is complete or not there."""

from __future__ import annotations

import pytest

from export.place import new_folder


def test_the_scratch_folder_takes_the_place_at_the_end(tmp_path):
    with new_folder(tmp_path / "a" / "full") as scratch:
        (scratch / "file").write_text("new")
        assert not (tmp_path / "a" / "full").exists()
    assert (tmp_path / "a" / "full" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["full"]


def test_what_was_there_before_is_gone(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old").touch()
    with new_folder(tmp_path / "full") as scratch:
        (scratch / "new").touch()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["new"]


def test_after_a_failure_the_old_one_stays_and_no_scratch(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old").touch()
    with pytest.raises(ValueError, match="half-way"), new_folder(tmp_path / "full") as scratch:
        (scratch / "new").touch()
        raise ValueError("half-way")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["old"]


def test_what_a_killed_run_left_does_not_get_in(tmp_path):
    (tmp_path / ".full.part").mkdir()
    (tmp_path / ".full.part" / "half").touch()
    with new_folder(tmp_path / "full") as scratch:
        (scratch / "new").touch()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["new"]
