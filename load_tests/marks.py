"""Parts of a document that a command writes: what stands between two marks."""

from __future__ import annotations

from services.errors import UsageError


def between(document: str, begin: str, end: str, part: str, name: str = "document") -> str:
    """The document with `part` between the marks; raises UsageError, by its name, without them."""
    before, opened, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise UsageError(
            f"The {name} has no {begin} followed by {end}; the table goes between them.",
            "Put both marks on lines of their own.",
        )
    return f"{before}{begin}\n{part}\n{end}{after}"
