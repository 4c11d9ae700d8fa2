"""Settings of the service: environment variables in, one frozen `Settings` out.

The only place that reads the environment. Everything has a default; a fault names what was found,
what was expected and what to do, and all faults are reported at once.

    TRANSFER_THREADS=4 TRANSFER_VARIANTS=distilled-int8,zeroshot bentoml serve services.app:Transfer
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from services.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
LOCK_NAME = "variants.lock.json"
PLANS_NAME = "transfer-plans.json"
TOKENS_PER_CORE = 32_768  # a second or two of work for the models that ship
SECRET = "@?#"  # before the first, and after the others, an address may have a password or token
SUPERVISOR = "TRANSFER_SUPERVISOR_PID"

Provider = Literal["auto", "cpu", "cuda"]
LogRequests = Literal["on", "off", "text"]
PROVIDERS: tuple[Provider, ...] = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """variants: patterns (a model, a variant, or model/variant); empty means every published one
    threads: cores that the models may use together
    queue_tokens: tokens that may wait or be read before new requests are refused with 429
    queue_s: and the same where what waits takes longer than this, each variant at its present pace
    windows_per_call: at most so many in one call of a graph (0: as the plan says); with 1 the
        scores of an int8 variant do not depend on what else is being asked
    max_body_bytes: larger request bodies are refused with 413
    body_timeout_s: a header or a body that takes longer to arrive is refused with 408
    drain_s: so long requests are still taken after SIGTERM, when it is not ready any more
    timeout_s: a request that takes longer is given up with 504 (a caller can ask for less)
    lock: the file that names the published variants
    plans: the file that keeps how each variant is best called on this machine
    provider: where graphs run; "auto" is CUDA for fp32 and fp16 where there is a device
    gpu_memory_mb: memory that each loaded graph may take of a CUDA device (0: no limit)
    api_keys, api_keys_file: who may ask (`services.access`); none: everybody
    tokens_per_minute: what one key may have read; 0: no bound
    metrics: who may read /metrics: "open", "key", or a port of its own
    cors_origins: web pages of these origins may ask from a browser; "*": of all
    log_requests: a line of JSON for each: "on", "off", or "text" with the bodies
    traces: the OpenTelemetry collector that gets a span of each request (OTLP/HTTP); "": none
    """

    variants: tuple[str, ...] = ()
    threads: int = field(default_factory=lambda: usable_cores())
    queue_tokens: int = field(default_factory=lambda: TOKENS_PER_CORE * usable_cores())
    queue_s: float = 3.0
    windows_per_call: int = 0
    max_body_bytes: int = 8_000_000
    body_timeout_s: float = 10.0
    timeout_s: float = 30.0
    drain_s: float = 0.0
    lock: Path = ROOT / LOCK_NAME
    plans: Path = field(default_factory=lambda: _default_plans())
    provider: Provider = "auto"
    gpu_memory_mb: int = 0
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    api_keys_file: Path | None = None
    tokens_per_minute: int = 0
    metrics: str | int = "open"
    cors_origins: tuple[str, ...] = ()
    log_requests: LogRequests = "on"
    traces: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read TRANSFER_<FIELD> for every field; raises UsageError that lists all faults."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        faults: list[str] = []
        for setting in fields(cls):
            name = f"TRANSFER_{setting.name.upper()}"
            text = environ.get(name, "").strip()
            if text:
                try:
                    values[setting.name] = _PARSERS[setting.name](text)
                except ValueError as error:
                    shown = repr(text) if setting.repr and not _has(text, SECRET) else "wrong"
                    faults.append(f"{name} is {shown}; expected {error}.")
        keys = values.get("api_keys") or values.get("api_keys_file")
        if not keys and (values.get("tokens_per_minute") or values.get("metrics") == "key"):
            faults.append(
                "TRANSFER_TOKENS_PER_MINUTE and TRANSFER_METRICS=key need TRANSFER_API_KEYS or "
                "TRANSFER_API_KEYS_FILE."
            )
        if faults:
            raise UsageError(" ".join(faults), "Correct or unset it and start again.")
        return cls(**values)


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise ValueError(f"a whole number of at least {least}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError("a number of seconds above 0")
    return value


def _seconds_or_none(text: str) -> float:
    return 0.0 if text in ("0", "0.0") else _seconds(text)


def _one_of(*choices: str) -> Callable[[str], Any]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text.lower()

    return parse


def _metrics(text: str) -> str | int:
    if text.lower() in ("open", "key"):
        return text.lower()
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError("open, key, or a port")
    return int(text)


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().rstrip("/") for origin in text.split(",") if origin.strip())
    if not all(origin == "*" or "://" in origin for origin in origins):
        raise ValueError("origins like https://example.org with commas between them, or *")
    return origins


def _collector(text: str) -> str:
    """An address without a name, a password, a query or a fragment: it is shown, and added to."""
    if not _is_address(text):
        raise ValueError("the address of a collector, like http://localhost:4318")
    return text.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    good = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return good and not _has(text, SECRET)


def _has(text: str, signs: str) -> bool:
    return any(sign in text for sign in signs)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("names with commas between them, like distilled-int8,intent/full")
    return names


_PARSERS: dict[str, Callable[[str], Any]] = {
    "variants": _names,
    "threads": _at_least(1),
    "queue_tokens": _at_least(1),
    "queue_s": _seconds,
    "windows_per_call": _at_least(0),
    "max_body_bytes": _at_least(1),
    "body_timeout_s": _seconds,
    "timeout_s": _seconds,
    "drain_s": _seconds_or_none,
    "lock": Path,
    "plans": Path,
    "provider": _one_of(*PROVIDERS),
    "gpu_memory_mb": _at_least(0),
    "api_keys": _names,
    "api_keys_file": Path,
    "tokens_per_minute": _at_least(0),
    "metrics": _metrics,
    "cors_origins": _origins,
    "log_requests": _one_of("on", "off", "text"),
    "traces": _collector,
}


def usable_cores() -> int:
    """Cores this process may use: its affinity, cut by the container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores


def prepare_bentoml() -> None:
    """Defaults for BentoML, best called before its import: the store of this checkout, no tracking.

    A Bento has no pyproject.toml beside `services`; there BentoML's own default holds.
    """
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    if not os.environ.get("BENTOML_HOME") and (ROOT / "pyproject.toml").is_file():
        os.environ["BENTOML_HOME"] = str(ROOT / ".bentoml")


def bentoml_home() -> str:
    """The configured BENTOML_HOME; empty when BentoML's own default holds."""
    return os.environ.get("BENTOML_HOME", "")


def _default_plans() -> Path:
    """Beside the model store that the plans speak of."""
    return Path(bentoml_home() or Path.home() / "bentoml") / PLANS_NAME


def become_supervisor() -> None:
    """Tell the workers started from here whom to stop when a variant cannot be served."""
    os.environ[SUPERVISOR] = str(os.getpid())


def supervisor_pid() -> int | None:
    """The process that started this worker, if it asked to be told."""
    text = os.environ.get(SUPERVISOR, "")
    return int(text) if text.isdigit() and int(text) == os.getppid() else None
