"""What the image would weigh with torch, its CUDA parts and transformers in it.

    python -m load_tests.rehearsal.with_torch             # the table of k8s/README.md, written anew
    pip download --only-binary :all: -d FOLDER torch==2.13.0
    python -m load_tests.rehearsal.with_torch FOLDER      # the wheels there: how many, MB unpacked

In: sizes of docs/results/image.json, and `PARTS`, which are data: no image is built with gigabytes
of CUDA to weigh them. Out: the part `with-torch` of k8s/README.md, and the same in the record.
"""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.sections import with_section
from load_tests.server import ROOT

RECORD = ROOT / "docs" / "results" / "image.json"
DOCUMENT = ROOT / "k8s" / "README.md"
SECTION = "with-torch"
HEAD = "| in the image | MB | known from |\n|---|---:|---|"


@dataclass(frozen=True)
class Part:
    """package: as constraints.txt pins it; size_mb: of all its wheels; how: that is known"""

    package: str
    what: str
    wheels: int
    size_mb: int
    how: str


PARTS = (
    Part(
        "torch==2.13.0",
        "torch 2.13.0 with its CUDA parts",
        29,
        4764,
        "unpacked wheels that pip chooses for Linux, without the bytecode that an image has",
    ),
    Part("transformers==4.57.6", "transformers 4.57.6", 1, 109, "installed, with its bytecode"),
)


def compared(slim_mb: float) -> dict[str, Any]:
    """The arithmetic with its inputs, for the record."""
    total_mb = slim_mb + sum(part.size_mb for part in PARTS)
    return {
        "parts": [asdict(part) for part in PARTS],
        "with_torch_mb": round(total_mb, 1),
        "times": round(total_mb / slim_mb, 1),
    }


def table(slim_mb: float) -> str:
    found = compared(slim_mb)
    rows = [("this image", slim_mb, "built by `make image-check`")]
    rows += [(f"{_words(part)}, more", part.size_mb, part.how) for part in PARTS]
    rows += [
        ("the same with all of them", found["with_torch_mb"], f"{found['times']} times as much")
    ]
    return "\n".join([HEAD, *(f"| {what} | {mb:,.0f} | {how} |" for what, mb, how in rows)])


def _words(part: Part) -> str:
    return f"{part.what} ({part.wheels} wheels)" if part.wheels > 1 else part.what


def unpacked(folder: Path) -> tuple[int, float]:
    """How many wheels a folder has, and what they weigh unpacked in MB."""
    wheels = sorted(folder.glob("*.whl"))
    total = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            total += sum(each.file_size for each in archive.infolist())
    return len(wheels), round(total / 1e6, 1)


def documented(document: str) -> str:
    """k8s/README.md with a fresh table of what was measured."""
    sizes = json.loads(RECORD.read_text(encoding="utf-8"))["sizes_mb"]
    return with_section(document, SECTION, table(sizes["slim"]))


def write() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(documented(document), encoding="utf-8")


def main(arguments: list[str]) -> int:
    if not arguments:
        write()
        return 0
    count, size_mb = unpacked(Path(arguments[0]))
    print(f"{count} wheels, {size_mb:,.1f} MB unpacked")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
