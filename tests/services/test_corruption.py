"""Whatever is wrong with a variant, it never gets ready: one line that names the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

from services.engine import Engine
from services.errors import ArtifactError
from services.metrics import Metrics
from services.packaging import available
from services.schemas import ClassifyRequest
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


def test_what_is_replaced_after_it_got_ready_is_never_served(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The graph is read again where a plan is measured; the others get theirs all the same."""
    monkeypatch.setattr("services.fleet.REST_S", 0.01)
    replaced = publish(tiny.write_variant(tmp_path / "full"), home)
    other = tiny.store(tiny.write_variant(tmp_path / "emotion", "emotion"), home)
    tiny.write_lock(replaced.lock, [replaced.tag, other])
    engine = start(replaced)
    onnx.save(tiny.classifier({"balance": (6.0, 0.0, 0.0)}), replaced.stored / "model.onnx")
    engine.fleet.measure_plans()
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "intent/full goes on without a measured plan" in told.getMessage()
    assert "model.onnx has sha256" in told.getMessage() and told.exc_info is None
    answer = asyncio.run(engine.answer(ClassifyRequest(text="balance")))
    assert answer.body["results"][0]["label"] == "check_balance"
    assert engine.fleet.pick("intent", None).plan.windows_per_s == 0
    assert engine.fleet.pick("emotion", None).plan.windows_per_s > 0
    engine.close()
