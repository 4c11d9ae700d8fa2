"""Which variants belong to this Bento, and how BentoML is told.

The lock file names them by exact tag; a Bento holds each model's default variant (or those that
TRANSFER_VARIANTS names while it is built). A tag is never resolved through `:latest`.
"""

# mypy: disable-error-code="misc,call-arg,import-untyped"
from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from _bentoml_sdk.models import BentoModel, Model
from bentoml._internal.bento import BentoStore
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from services.errors import ArtifactError, TransferError
from services.lifecycle import end_with
from services.lock import packaged, read_lock, select, tags_of
from services.registry import variant_path
from services.settings import Settings, bentoml_home


class PublishedModel(BentoModel):
    """A model of the lock file; when the store does not hold it, one line instead of a download."""

    def to_info(self, alias: str | None = None) -> Any:
        self._require()
        return super().to_info(alias)

    def resolve(self, *args: Any, **kwargs: Any) -> Any:
        self._require()
        return super().resolve(*args, **kwargs)

    def _require(self) -> None:
        try:
            variant_path(str(self.tag))
        except TransferError as error:
            end_with(error)


class MissingModels(Model[Any]):
    """Stands for models that cannot even be named; building and serving end with the reason."""

    def __init__(self, error: TransferError) -> None:
        self.error = error

    def to_info(self, alias: str | None = None) -> NoReturn:
        end_with(self.error)

    @classmethod
    def from_info(cls, info: Any) -> NoReturn:
        raise NotImplementedError("no Bento holds a missing model")

    def resolve(self, base_path: Any = None) -> NoReturn:
        end_with(self.error)

    def to_create_schema(self) -> NoReturn:
        end_with(self.error)


def models_to_package() -> list[Model[Any]]:
    """What `bentoml build` puts into the Bento and `bentoml serve` requires."""
    try:
        settings = Settings.from_environment()
        lock, cuda = read_lock(settings.lock), settings.provider == "cuda"
        return [PublishedModel(lock[key]) for key in packaged(lock, settings.variants, cuda)]
    except TransferError as error:
        return [MissingModels(error)]


def gpu_resources() -> dict[str, Any]:
    """`resources` of a service that is asked to run on CUDA (TRANSFER_PROVIDER=cuda), else none.

    BentoML then gives the worker one device of its own, unless CUDA_VISIBLE_DEVICES is set, and
    whoever deploys the Bento reads the need from it. A service that may use a device but need not
    ("auto") asks for none: BentoML would warn of a shortage wherever there is no GPU.
    """
    try:
        wanted = Settings.from_environment().provider
    except TransferError:  # told by the one who reads all settings
        return {}
    return {"resources": {"gpu": 1}} if wanted == "cuda" else {}


def available(settings: Settings, bento: Any) -> dict[str, str]:
    """The lock's variants that can be served here: in a Bento, those that it holds."""
    lock = read_lock(settings.lock)
    if bento is not None:
        lock = tags_of(lock, [str(model.tag) for model in bento.info.all_models])
    if not lock:
        raise ArtifactError(f"{settings.lock} names no variant.", "Run `transfer build`.")
    select(lock, settings.variants)
    return lock


def use_configured_store() -> None:
    """Make BentoML use the store that `prepare_bentoml` chose.

    `bentoml serve` opens the default store before it imports the service, so a default set in the
    environment comes too late for the process that was started by hand.
    """
    home = Path(bentoml_home()).expanduser().absolute()
    container = BentoMLContainer
    if not bentoml_home() or Path(container.bentoml_home.get()).absolute() == home:
        return
    for name in ("bentos", "models", "tmp", "envs"):
        (home / name).mkdir(parents=True, exist_ok=True)
    container.bentoml_home.set(str(home))
    container.bento_store_dir.set(str(home / "bentos"))
    container.model_store_dir.set(str(home / "models"))
    container.tmp_bento_store_dir.set(str(home / "tmp"))
    container.env_store_dir.set(str(home / "envs"))
    container.bento_store.set(BentoStore(home / "bentos"))
    container.tmp_bento_store.set(BentoStore(home / "tmp"))
    container.model_store.set(ModelStore(home / "models"))
