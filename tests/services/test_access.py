"""API keys: several at once, rotated in a running service, and shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services import access
from services.access import KeyRing, UnauthorizedError, read_keys
from services.errors import UsageError

OLD, NEW = "old-key-0123456789", "new-key-0123456789"


def test_without_keys_everybody_may_ask() -> None:
    assert KeyRing().require({}) == ""


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {OLD}"}, {"authorization": f"bearer  {OLD}"}, {"x-api-key": OLD}],
)
def test_a_key_is_known_by_its_name(headers: dict[str, str]) -> None:
    assert KeyRing([f"shop:{OLD}", NEW]).require(headers) == "shop"


def test_a_key_without_a_name_has_one_that_does_not_give_it_away() -> None:
    name = KeyRing([OLD]).require({"x-api-key": OLD})
    assert name.startswith("key-") and OLD[:4] not in name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": f"Basic {OLD}"},
        {"authorization": "Bearer"},
        {"x-api-key": OLD + "x"},
        {"x-api-key": OLD[:-1]},
        {"x-api-key": "\udcff\udcfe"},
    ],
)
def test_anything_else_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        KeyRing([OLD]).require(headers)
    assert caught.value.status == 401
    assert OLD not in str(caught.value)


def test_keys_are_rotated_by_writing_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "LOOK_S", 0.0)
    file = tmp_path / "keys"
    file.write_text(f"# of the shop\nshop:{OLD}\n")
    ring = KeyRing(file=file)
    assert (ring.name_of(OLD), ring.name_of(NEW)) == ("shop", None)
    file.write_text(f"shop:{OLD}\nshop-2:{NEW}\n")
    assert (ring.name_of(OLD), ring.name_of(NEW)) == ("shop", "shop-2")
    file.write_text(f"shop-2:{NEW}  # the old one has gone\n")
    assert (ring.name_of(OLD), ring.name_of(NEW)) == (None, "shop-2")


def test_a_file_behind_a_link_is_read_when_the_link_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes does with a mounted secret."""
    monkeypatch.setattr(access, "LOOK_S", 0.0)
    for name, key in (("one", OLD), ("two", NEW)):
        (tmp_path / name).write_text(key)
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "keys"
    link.symlink_to("one")
    ring = KeyRing(file=link)
    link.unlink()
    link.symlink_to("two")
    assert (ring.name_of(OLD), ring.name_of(NEW) is not None) == (None, True)


@pytest.mark.parametrize("text", ["", "short", "two words here and there"])
def test_a_file_that_breaks_leaves_the_keys_as_they_were(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access, "LOOK_S", 0.0)
    file = tmp_path / "keys"
    file.write_text(f"shop:{OLD}")
    ring = KeyRing(file=file)
    file.write_text(text)
    assert ring.name_of(OLD) == "shop"
    assert "the keys stay as they were" in caplog.text
    file.unlink()
    assert ring.name_of(OLD) == "shop"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# nothing\n", "has no key"),
        ("tiny", "Key 1 of .* is none; expected KEY or NAME:KEY"),
        (f"{OLD}\nshop:{OLD} twice", "Key 2 of"),
    ],
)
def test_a_file_that_cannot_be_is_refused_at_the_start(
    text: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        read_keys(file)
    assert OLD not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        KeyRing(file=tmp_path / "missing")
