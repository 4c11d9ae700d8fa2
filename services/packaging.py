"""Which variants belong to this Bento, and how BentoML is told.

The lock file names them by exact tag; a Bento holds each model's default variant (or those that
TRANSFER_VARIANTS names while it is built). A tag is never resolved through `:latest`.
"""

# mypy: disable-error-code="misc,call-arg,import-untyped"
from __future__ import annotations

import os
from typing import Any, NoReturn

from _bentoml_sdk.models import BentoModel, Model
from bentoml._internal.configuration.containers import BentoMLContainer

from services.errors import ArtifactError, TransferError
from services.lifecycle import end_with
from services.registry import packaged, read_lock, select, tags_of, variant_path
from services.settings import Settings, bentoml_home

STORE_PROVIDERS = (
    "bentoml_home",
    "result_store_file",
    "tmp_bento_store_dir",
    "bento_store_dir",
    "model_store_dir",
    "env_store_dir",
    "bento_store",
    "tmp_bento_store",
    "model_store",
)


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

    def resolve(self, base_path: Any = None) -> NoReturn:
        end_with(self.error)

    def to_create_schema(self) -> NoReturn:
        end_with(self.error)


def models_to_package() -> list[Model[Any]]:
    """What `bentoml build` puts into the Bento and `bentoml serve` requires."""
    try:
        settings = Settings.from_environment()
        lock = read_lock(settings.lock)
        return [PublishedModel(lock[key]) for key in packaged(lock, settings.variants)]
    except TransferError as error:
        return [MissingModels(error)]


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
    """Make BentoML look again where its store is.

    `bentoml serve` opens the default store before it imports the service, so a default set by
    `prepare_bentoml` would come too late.
    """
    home = bentoml_home()
    if home and os.path.abspath(BentoMLContainer.bentoml_home.get()) != os.path.abspath(home):
        for name in STORE_PROVIDERS:
            getattr(BentoMLContainer, name).reset()
