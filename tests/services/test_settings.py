"""Settings: defaults, every fault at once, and where BentoML's store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import UsageError
from services.settings import Settings, usable_cores


def test_nothing_set_means_the_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings.threads == usable_cores()
    assert (settings.max_body_bytes, settings.provider) == (8_000_000, "auto")
    assert settings.lock.name == "variants.lock.json"


def test_everything_can_be_set() -> None:
    settings = Settings.from_environment(
        {
            "TRANSFER_VARIANTS": "distilled-int8, zeroshot",
            "TRANSFER_THREADS": "4",
            "TRANSFER_QUEUE_TOKENS": "10",
            "TRANSFER_QUEUE_S": "1.5",
            "TRANSFER_WINDOWS_PER_CALL": "1",
            "TRANSFER_MAX_BODY_BYTES": "100",
            "TRANSFER_BODY_TIMEOUT_S": "0.5",
            "TRANSFER_TIMEOUT_S": "2",
            "TRANSFER_DRAIN_S": "5",
            "TRANSFER_LOCK": "some/lock.json",
            "TRANSFER_PLANS": "some/plans.json",
            "TRANSFER_PROVIDER": "CPU",
            "TRANSFER_GPU_MEMORY_MB": "2000",
            "TRANSFER_API_KEYS": "shop:0123456789abcdef",
            "TRANSFER_API_KEYS_FILE": "some/keys",
            "TRANSFER_TOKENS_PER_MINUTE": "5000",
            "TRANSFER_METRICS": "9100",
            "TRANSFER_CORS_ORIGINS": "https://page.example/",
            "TRANSFER_LOG_REQUESTS": "text",
            "TRANSFER_TRACES": "http://localhost:4318/",
        }
    )
    assert settings == Settings(
        variants=("distilled-int8", "zeroshot"),
        threads=4,
        queue_tokens=10,
        queue_s=1.5,
        windows_per_call=1,
        max_body_bytes=100,
        body_timeout_s=0.5,
        timeout_s=2.0,
        drain_s=5.0,
        lock=Path("some/lock.json"),
        plans=Path("some/plans.json"),
        provider="cpu",
        gpu_memory_mb=2000,
        api_keys=("shop:0123456789abcdef",),
        api_keys_file=Path("some/keys"),
        tokens_per_minute=5000,
        metrics=9100,
        cors_origins=("https://page.example",),
        log_requests="text",
        traces="http://localhost:4318",
    )
    assert "0123456789abcdef" not in repr(settings)


def test_all_faults_are_reported_at_once() -> None:
    faulty = {
        "TRANSFER_THREADS": "none",
        "TRANSFER_TIMEOUT_S": "-1",
        "TRANSFER_PROVIDER": "tpu",
        "TRANSFER_VARIANTS": ",",
        "TRANSFER_METRICS": "closed",
        "TRANSFER_CORS_ORIGINS": "page.example",
        "TRANSFER_LOG_REQUESTS": "perhaps",
        "TRANSFER_TRACES": "localhost:4318",
    }
    with pytest.raises(UsageError) as caught:
        Settings.from_environment(faulty)
    for name, value in faulty.items():
        assert f"{name} is {value!r}; expected" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("TRANSFER_TOKENS_PER_MINUTE", "10"), ("TRANSFER_METRICS", "key")]
)
def test_what_needs_keys_says_so(name: str, value: str) -> None:
    with pytest.raises(UsageError, match="need TRANSFER_API_KEYS"):
        Settings.from_environment({name: value})
    Settings.from_environment({name: value, "TRANSFER_API_KEYS": "0123456789abcdef"})


@pytest.mark.parametrize(
    "address",
    [
        "http://:secret@collector:4318",
        "http://name:secret@collector:4318",
        "http://@collector:4318",
        "http://collector:4318/?token=secret",
        "http://collector:4318/#secret",
        "http://collector:4318?",
        "http://collector:99999",
        "http://collector:0",
        "http://collector:port",
        "http://[::1",
        "http://",
        "ftp://collector",
    ],
)
def test_a_collector_is_an_address_and_nothing_else(address: str) -> None:
    """It is shown in logs and in the settings, and a path is added to it."""
    expected = "expected the address of a collector, like http://localhost:4318"
    with pytest.raises(UsageError, match=expected) as caught:
        Settings.from_environment({"TRANSFER_TRACES": address})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://[::1]:4318", "https://collector.example/otlp"])
def test_addresses_of_collectors(address: str) -> None:
    assert Settings.from_environment({"TRANSFER_TRACES": address}).traces == address
