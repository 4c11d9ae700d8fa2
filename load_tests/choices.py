"""Options that name some of what there is, with commas: `--only overload,body`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.errors import UsageError


def chosen(option: str, given: str, known: Iterable[str]) -> list[str]:
    """Each name once, in the order given, or all; raises UsageError for one that there is not."""
    if not given:
        return list(known)
    names = list(dict.fromkeys(given.split(",")))
    if faults := unknown(option, names, list(known)):
        raise UsageError(" ".join(faults), "See --help.")
    return names


def unknown(option: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """What is wrong with the names: nothing, or one sentence."""
    wrong = [name for name in names if name not in known]
    return [f"{option} names {', '.join(wrong)}; expected {', '.join(known)}."] if wrong else []
