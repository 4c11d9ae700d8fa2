"""Whatever is wrong with a variant, it never gets ready: one line that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.engine import Engine
from services.errors import ArtifactError
from services.metrics import Metrics
from services.packaging import available
from services.settings import Settings
from tests.export.store import bentoml_store
from tests.services import tiny
from tests.services.mutations import DAMAGED, LOCKED, MISPUBLISHED, Published

Spoil = Callable[[Published], None]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with bentoml_store(tmp_path / "home") as home:
        yield home


def publish(folder: Path, home: Path) -> Published:
    """Store a variant as it is, and lock it as `intent/full`."""
    tag = tiny.store(folder, home)
    lock = tiny.write_lock(home.parent / "lock.json", [tag])
    return Published(home, home / "models" / tag.replace(":", "/"), lock, tag)


def start(published: Published) -> Engine:
    """What a worker does at its start; raises what keeps it from being ready."""
    settings = Settings(
        lock=published.lock, plans=published.home / "plans.json", threads=1, variants=()
    )
    engine = Engine(settings, available(settings, None), Metrics())
    try:
        engine.fleet.load()
    except BaseException:
        assert not engine.fleet.ready
        engine.close()
        raise
    return engine


def refused(published: Published, named: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        start(published)
    line = str(caught.value)
    assert named in line and "\n" not in line, line
    assert caught.value.hint


def test_what_is_whole_gets_ready(tmp_path: Path, home: Path) -> None:
    engine = start(publish(tiny.write_variant(tmp_path / "variant"), home))
    assert engine.fleet.ready
    engine.close()


def test_there_are_many_of_them() -> None:
    assert len(DAMAGED) + len(MISPUBLISHED) + len(LOCKED) > 80


@pytest.mark.parametrize(("spoil", "named"), DAMAGED.values(), ids=DAMAGED)
def test_what_was_changed_in_the_store_is_refused(
    tmp_path: Path, home: Path, spoil: Spoil, named: str
) -> None:
    published = publish(tiny.write_variant(tmp_path / "variant"), home)
    spoil(published)
    refused(published, named)


@pytest.mark.parametrize(("write", "named"), MISPUBLISHED.values(), ids=MISPUBLISHED)
def test_what_was_published_wrong_is_refused(
    tmp_path: Path, home: Path, write: Callable[[Path], Path], named: str
) -> None:
    refused(publish(write(tmp_path / "variant"), home), named)


@pytest.mark.parametrize(("spoil", "named"), LOCKED.values(), ids=LOCKED)
def test_a_lock_that_names_something_else_is_refused(
    tmp_path: Path, home: Path, spoil: Spoil, named: str
) -> None:
    published = publish(tiny.write_variant(tmp_path / "variant"), home)
    spoil(published)
    refused(published, named)
