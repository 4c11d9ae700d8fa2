"""Where nothing may be unpickled: every way of it raises, and is remembered.

A pickle runs the code of whoever wrote it, so weights, settings and answers have other formats.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

WAYS = ("load", "loads", "_load", "_loads", "Unpickler", "_Unpickler")


def forbid_unpickling(replace: Callable[[Any, str, Any], None] = setattr) -> list[str]:
    """From now on, for what is imported later too; the list gets where it was tried."""
    tried: list[str] = []

    class Refused(BaseException):
        """No `Exception`: a library that tries another way after it would hide it."""

    class Refusing:
        def __init__(self, *_: Any, **__: Any) -> None:
            refuse()

    def refuse(*_: Any, **__: Any) -> NoReturn:
        tried.append("".join(traceback.format_stack(limit=6)))
        raise Refused("something is unpickled here")

    for way in WAYS:
        replace(pickle, way, Refusing if "Unpickler" in way else refuse)
    return tried
