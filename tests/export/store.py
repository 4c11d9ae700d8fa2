"""A BentoML store for this process alone, for the tests that publish."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock


@contextlib.contextmanager
def bentoml_store(home: Path) -> Iterator[Path]:
    """BENTOML_HOME is `home` inside the block, for BentoML too, which remembers its first one."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    (home / "models").mkdir(parents=True, exist_ok=True)
    variables = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    with mock.patch.dict(os.environ, variables):
        BentoMLContainer.bentoml_home.set(str(home))
        BentoMLContainer.model_store.set(ModelStore(home / "models"))
        try:
            yield home
        finally:
            BentoMLContainer.model_store.reset()
            BentoMLContainer.bentoml_home.reset()
