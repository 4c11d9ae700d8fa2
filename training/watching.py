"""Who else looks at the trainings of a block: trackers by name, callbacks, a country for the CO2.

    with watching(report_to=("tensorboard",)):
        finetune(recipe, out)

It changes nothing of what is learned, so it is no part of a recipe and of its digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from services.errors import UsageError

# Name as transformers knows it -> modules of which one must be there.
TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "aim": ("aim",),
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "trackio": ("trackio",),
}
HINTS = {"tensorboard": "pip install -c constraints.txt -e '.[track]'"}


@dataclass(frozen=True)
class Watch:
    """report_to: names of `TRACKERS`; country: ISO 3166-1 alpha-3

    callbacks: of transformers; of a training in stages they see the last one
    """

    report_to: tuple[str, ...] = ()
    callbacks: tuple[Any, ...] = ()
    country: str = ""


NOBODY = Watch()
_CURRENT: ContextVar[Watch] = ContextVar("watch", default=NOBODY)


def watch() -> Watch:
    """Of the block that we are in; nobody outside of any."""
    return _CURRENT.get()


@contextmanager
def watching(
    report_to: Sequence[str] = (), callbacks: Sequence[Any] = (), country: str = ""
) -> Iterator[Watch]:
    """Raises UsageError for a tracker that is unknown or not installed."""
    for name in report_to:
        _require(name)
    made = Watch(tuple(report_to), tuple(callbacks), country)
    token = _CURRENT.set(made)
    try:
        yield made
    finally:
        _CURRENT.reset(token)


def _require(name: str) -> None:
    if name not in TRACKERS:
        raise UsageError(
            f"report_to is {name!r}; expected one of {', '.join(TRACKERS)}.",
            "E.g. report_to=tensorboard.",
        )
    if not any(find_spec(module) for module in TRACKERS[name]):
        raise UsageError(
            f"report_to={name} needs the package {TRACKERS[name][0]}, which is not installed.",
            f"Install it, e.g. `{HINTS.get(name, f'pip install {name}')}`, or leave report_to out.",
        )
