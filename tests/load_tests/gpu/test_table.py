"""The table of a device, and the page that ships: what was measured, or that nothing was."""

from __future__ import annotations

import pytest

from load_tests.gpu.table import (
    DOCUMENT,
    NOT_MEASURED,
    best_point,
    document_with,
    read_record,
    section,
)
from services.errors import UsageError

RECORD = {
    "device": {"name": "NVIDIA Test", "memory_mb": 80_000, "capability": "9.0", "cuda": "13.0"},
    "environment": {"cores": 16, "measured": "today", "command": "python -m load_tests.gpu"},
    "variants": [
        {
            "model": "intent",
            "variant": "full-fp16",
            "on": "GPU",
            "points": [
                {"tokens": 16, "windows": 32, "windows_per_s": 90_000.0},
                {
                    "tokens": 64,
                    "windows": 8,
                    "windows_per_s": 4_000.0,
                    "unbound_windows_per_s": 3_500.0,
                },
                {"tokens": 64, "windows": 32, "windows_per_s": 3_000.0},
                {"tokens": 64, "windows": 128, "fault": "out of memory"},
            ],
            "mixed": {"sorted_windows_per_s": 2_000.0, "unsorted_windows_per_s": 1_500.0},
            "device_mb": {"loaded": 100.0, "peak": 250.4},
            "agreement_with_fp32": 0.998,
            "agreement_n": 100,
            "quality": {"metric": "label agreement", "value": 0.95, "n": 4500},
        },
        {"model": "intent", "variant": "full-int8", "on": "CPU", "fault": "it failed"},
    ],
    "without_fp16": ["intent/distilled"],
}


def test_a_line_is_the_best_batch_of_the_longest_windows() -> None:
    assert best_point(RECORD["variants"][0]["points"])["windows"] == 8  # type: ignore[index]
    assert best_point([{"tokens": 1, "windows": 1, "fault": "none"}]) is None
    lines = section(RECORD).splitlines()
    assert lines[2] == (
        "| intent | full-fp16 | GPU | 8 x 64 | 4,000 | 3,500 | 2,000 / 1,500 | 250 | 0.998 (100)"
        " | label agreement 0.950 (4,500) |"
    )
    assert lines[3].startswith("| intent | full-int8 | CPU | it failed | - |")
    assert lines[2].count("|") == lines[3].count("|") == lines[0].count("|")
    assert "NVIDIA Test, 80,000 MB" in section(RECORD)
    assert "No fp16 variant of intent/distilled" in section(RECORD)


def test_without_a_record_the_part_says_so() -> None:
    assert document_with("a\n<!-- gpu:begin -->\nold\n<!-- gpu:end -->\nb", None) == (
        f"a\n<!-- gpu:begin -->\n{NOT_MEASURED}\n<!-- gpu:end -->\nb"
    )
    with pytest.raises(UsageError, match="has no <!-- gpu:begin -->"):
        document_with("nothing", None)


def test_the_page_that_ships_is_what_its_record_makes() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert document_with(text, read_record()) == text
