"""What the types of the requests cannot say about a valid body: which fields go together.

In: the JSON Schemas of the requests as msgspec makes them. Out: the same with the rules that
`Request.check` holds, so that whoever generates requests from `/docs.json` sends none that fits the
document and is refused. Some rules stay outside of JSON Schema: lists that are paired have one
length, and what a model needs or does not know.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NOT_BLANK = r"\S"
TEXTS = ("text", "question", "context", "inputs")
UNIQUE = ("labels", "variants")
NULL: Schema = {"type": "null"}
LIST: Schema = {"type": "array"}
NOT: Schema = {"const": False}


def _fields(**fields: Schema) -> Schema:
    return {"properties": fields}


# By request: at least one of these holds.
EITHER: dict[str, tuple[Schema, ...]] = {
    "ClassifyRequest": (
        _fields(labels=NULL, model={"not": {"const": "zeroshot"}}),
        {**_fields(labels=LIST, model={"const": "zeroshot"}), "required": ["labels"]},
    ),
    "QaRequest": (_fields(paired=NOT), _fields(question=LIST, context=LIST)),
    "SummarizeRequest": (_fields(stream=NOT), _fields(text={"type": "string"})),
}
# In a comparison of a task: its request, without what has no place there.
COMPARED: dict[str, tuple[str, Schema]] = {
    "classify": ("ClassifyRequest", _fields(variant=NULL)),
    "qa": ("QaRequest", _fields(variant=NULL)),
    "summarize": ("SummarizeRequest", _fields(variant=NULL, stream=NOT)),
}


def with_rules(schemas: dict[str, Schema], ref: str) -> dict[str, Schema]:
    """The schemas with their rules; others as they are.

    ref: where a schema is found by its {name}
    """
    made = {name: _with_fields(schema) for name, schema in schemas.items()}
    for name, choices in EITHER.items():
        made[name] = {**made[name], "anyOf": list(choices)}
    compared = [
        _fields(task={"const": task}, input={"allOf": [{"$ref": ref.format(name=name)}, without]})
        for task, (name, without) in COMPARED.items()
    ]
    made["CompareRequest"] = {**made["CompareRequest"], "anyOf": compared}
    return made


def _with_fields(schema: Schema) -> Schema:
    if not schema.get("title", "").endswith(("Request", "Input")):
        return schema
    fields = {name: _with_rule(name, field) for name, field in schema.get("properties", {}).items()}
    return {**schema, "properties": fields}


def _with_rule(name: str, field: Schema) -> Schema:
    """A text that stands alone is not blank; no name is listed twice."""
    if "anyOf" in field:
        return {**field, "anyOf": [_with_rule(name, choice) for choice in field["anyOf"]]}
    if name in TEXTS and field.get("type") == "string":
        return {**field, "pattern": NOT_BLANK}
    if name in UNIQUE and field.get("type") == "array":
        return {**field, "uniqueItems": True}
    return field
