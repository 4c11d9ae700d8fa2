"""A check of our own for schemathesis, which loads this module by name (`schemathesis.toml`)."""

from __future__ import annotations

from typing import Any

import schemathesis

# Faults of the content, and the two rules that JSON Schema cannot say (`services.openapi_rules`).
CONTENT = {
    "empty_text",
    "invalid_unicode",
    "text_too_long",
    "question_too_long",
    "not_for_model",
    "not_paired",
}


@schemathesis.check
def valid_data_is_refused_for_its_content_alone(ctx: Any, response: Any, case: Any) -> None:
    """A request that fits the document is never refused for its fields."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 422:
        code = response.json()["error"]["code"]
        assert code in CONTENT, f"{code}: {response.json()['error']['message']}"
    assert response.status_code != 400, response.text
