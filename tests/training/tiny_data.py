"""A few rows for each kind of job, easy enough for tiny models to learn by heart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.recipe import Recipe

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Ida", "John")
TEXTS = {
    "billing": "{} was charged twice on the invoice",
    "shipping": "the parcel for {} has not been delivered",
    "returns": "{} wants to send the machine back",
    "other": "{} sings a song about the weather",
}
TAGS = {
    "{} was charged twice and is angry": ["billing", "angry"],
    "{} was charged twice": ["billing"],
    "{} is angry": ["angry"],
    "{} walks home": [],
}
PARAGRAPH = (
    "The {0} machine was made in {1}. Its tank holds {2} litres of water and the lamp is green "
    "when it is ready. Press the key on the front for {2} seconds to rinse it before the first use."
)
PLACES = ("Halden", "Lyon", "Turin", "Delft", "Porto", "Graz", "Malmo", "Cork", "Ghent", "Basel")
REPORT = (
    "It was a calm day in {0}.",
    "The pump of line {1} failed at noon.",
    "People had lunch.",
    "A worn seal was the cause and was replaced.",
)

JOBS: dict[str, dict[str, Any]] = {
    "intent": {
        "kind": "sequence-classification",
        "data": "tickets.jsonl",
        "columns": {"label": "team"},
        "out_of_scope": "other",
        "learning_rate": 5e-3,
        "max_steps": 20,
    },
    "tags": {
        "kind": "sequence-classification",
        "data": "tags.csv",
        "multi_label": True,
        "learning_rate": 5e-3,
        "max_steps": 20,
    },
    "reader": {
        "kind": "question-answering",
        "data": "manuals.json",
        "null_ratio": 0.5,
        "learning_rate": 3e-3,
    },
    "highlights": {
        "kind": "sentence-extraction",
        "data": "reports.jsonl",
        "summary_sentences": 2,
        "learning_rate": 5e-3,
        "max_steps": 20,
    },
    "dialogue": {
        "kind": "seq2seq",
        "data": "summaries.jsonl",
        "learning_rate": 3e-3,
        "max_target_tokens": 16,
        "freeze_embeddings": False,
        "max_steps": 4,
    },
}
COMMON = {"max_tokens": 64, "stride": 16, "batch_size": 8, "evaluations": 2, "max_steps": 6}


def recipe_of(job: str, folder: Path, base: Path, **changes: Any) -> Recipe:
    values = {**COMMON, **JOBS[job], **changes}
    values.setdefault("name", job)
    if "data" not in changes:
        values["data"] = str(folder / values["data"])
    return Recipe(**{"base": str(base), **values})


def write_all(folder: Path) -> Path:
    """The files that `JOBS` name."""
    write_jsonl(folder / "tickets.jsonl", tickets())
    lines = [f'"{text}",{"|".join(tags)}' for text, tags in tagged()]
    (folder / "tags.csv").write_text("\n".join(["text,labels", *lines]), encoding="utf-8")
    (folder / "manuals.json").write_text(json.dumps(squad()), encoding="utf-8")
    write_jsonl(folder / "reports.jsonl", reports())
    write_jsonl(folder / "summaries.jsonl", summaries())
    return folder


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tickets() -> list[dict[str, Any]]:
    return [
        {"text": text.format(name), "team": team} for team, text in TEXTS.items() for name in NAMES
    ]


def tagged() -> list[tuple[str, list[str]]]:
    return [(text.format(name), tags) for text, tags in TAGS.items() for name in NAMES]


def squad() -> dict[str, Any]:
    """Ten articles of two paragraphs; the first names the place, the second does not."""
    articles = []
    for number, (name, place) in enumerate(zip(NAMES, PLACES, strict=True)):
        context = PARAGRAPH.format(name, place, number + 2)
        other = "The guarantee ends after two years. Send the machine back with its invoice."
        asked = [
            (f"Where was the {name} machine made?", place),
            (f"What colour is the lamp of the {name} when ready?", "green"),
        ]
        qas = [
            {
                "id": f"{number}-{i}",
                "question": question,
                "answers": [{"text": answer, "answer_start": context.index(answer)}],
            }
            for i, (question, answer) in enumerate(asked)
        ]
        none = {
            "id": f"{number}-none",
            "question": f"Who painted the {name} machine?",
            "is_impossible": True,
            "answers": [],
        }
        end = {"text": "two years", "answer_start": other.index("two years")}
        last = {"id": f"{number}-end", "question": "When does it end?", "answers": [end]}
        paragraphs = [{"context": context, "qas": [*qas, none]}, {"context": other, "qas": [last]}]
        articles.append({"title": name, "paragraphs": paragraphs})
    return {"version": "tiny", "data": articles}


def reports() -> list[dict[str, Any]]:
    return [
        {"sentences": [s.format(place, i) for s in REPORT], "key": [1, 3]}
        for i, place in enumerate(PLACES * 2)
    ]


def summaries() -> list[dict[str, Any]]:
    return [
        {
            "text": " ".join(REPORT).format(place, i),
            "references": [f"The pump of line {i} failed.", "A worn seal."],
        }
        for i, place in enumerate(PLACES * 2)
    ]
