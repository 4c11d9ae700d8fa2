"""Measuring ahead: once for each default variant, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.plans import measure_missing
from services.lock import read_lock
from services.plan import PlanFile
from services.runtime import Runtime
from services.settings import Settings
from tests.services.conftest import Store, store

__all__ = ["store"]  # the fixture


def test_the_default_variants_are_measured_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = read_lock(store.lock)
    monkeypatch.setattr(
        "export.plans.variant_path",
        lambda tag: store.folders[tag.partition(":")[0].replace("-", "/", 1)],
    )
    settings = Settings(threads=1, plans=tmp_path / "plans.json")
    defaults = [key for key in lock if key.endswith("-int8")]
    assert measure_missing(lock, settings) == defaults
    assert measure_missing(lock, settings) == []
    plans = PlanFile(settings.plans)
    loaded = [Runtime.load(store.folders[key], cores=1, plans=plans) for key in defaults]
    assert all(runtime.plan.windows_per_s > 0 for runtime in loaded)
