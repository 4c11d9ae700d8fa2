"""A check of our own for schemathesis, which loads this module by name (`schemathesis.toml`).

At its end it writes how many cases each operation had to the file TRANSFER_FUZZ_COUNTS.
"""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

# Faults of the content, and the rules that JSON Schema cannot say (`services.openapi_rules`).
CONTENT = {
    "empty_text",
    "invalid_unicode",
    "text_too_long",
    "question_too_long",
    "not_for_model",
    "not_paired",
}

counted: Counter[str] = Counter()


@schemathesis.check
def valid_data_is_refused_for_its_content_alone(ctx: Any, response: Any, case: Any) -> None:
    """A request that fits the document is never refused for its fields."""
    counted[case.operation.label] += 1
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 422:
        code = response.json()["error"]["code"]
        assert code in CONTENT, f"{code}: {response.json()['error']['message']}"
    assert response.status_code != 400, response.text


@atexit.register
def _write() -> None:
    if name := os.environ.get("TRANSFER_FUZZ_COUNTS"):
        Path(name).write_text(json.dumps(counted, indent=1))
