"""What BentoML is told of the service: a GPU only where it is asked for."""

from __future__ import annotations

import pytest

from services.packaging import gpu_resources


@pytest.mark.parametrize(
    ("provider", "resources"),
    [("cuda", {"resources": {"gpu": 1}}), ("auto", {}), ("cpu", {}), ("tpu", {})],
)
def test_one_gpu_is_asked_for_where_cuda_is(
    monkeypatch: pytest.MonkeyPatch, provider: str, resources: dict[str, object]
) -> None:
    monkeypatch.setenv("TRANSFER_PROVIDER", provider)
    assert gpu_resources() == resources
