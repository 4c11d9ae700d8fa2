"""Parts of a document that a command writes: what stands between `<!-- NAME:begin -->` and its end.

write_section(Path("docs/results.md"), "ways", table)
"""

from __future__ import annotations

from pathlib import Path

from services.errors import UsageError


def with_section(document: str, name: str, text: str) -> str:
    """The document with a fresh part `name`; raises UsageError where its marks are missing."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(
            f"The document has no {begin} followed by {end}; the table goes between them.",
            "Put both marks on lines of their own.",
        )
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"


def write_section(path: Path, name: str, text: str) -> None:
    document = path.read_text(encoding="utf-8")
    path.write_text(with_section(document, name, text), encoding="utf-8")
