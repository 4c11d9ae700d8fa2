"""Texts of our own on which a model fails, or just does not: what a card shows of its limits.

    answer_probes(folder, read_probes("intent"))

A file `probes/MODEL.yaml` lists them: `ask` (the fields of a request), `right` (what would be the
right answer) and `about` (what makes it hard). They were written after looking at errors on test
rows, in other words and about other things: no text of a data set is in them. What the model
answers is found out when its card is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from services.errors import ArtifactError
from services.runtime import Runtime, result_of
from services.tasks.classify import Classify
from services.tasks.qa import AnswerQuestions

FOLDER = Path(__file__).parent / "probes"
FIELDS = ("ask", "right", "about")

Probe = dict[str, Any]


def read_probes(model: str, folder: Path = FOLDER) -> list[Probe]:
    """The probes of a model; none where nobody wrote any. Raises ArtifactError for a bad file."""
    path = folder / f"{model}.yaml"
    if not path.is_file():
        return []
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, list) or any(set(probe) != set(FIELDS) for probe in found):
        raise ArtifactError(
            f"{path} is not a list of probes.", f"Each has the fields {', '.join(FIELDS)}."
        )
    return found


def answer_probes(folder: Path, probes: Sequence[Probe]) -> list[dict[str, Any]]:
    """Each probe with what the variant in `folder` says, its score, and whether that is right."""
    if not probes:
        return []
    runtime = Runtime.load(folder)
    return [{**probe, **_answer(runtime, probe)} for probe in probes]


def _answer(runtime: Runtime, probe: Probe) -> dict[str, Any]:
    task, ask = runtime.task, probe["ask"]
    if isinstance(task, AnswerQuestions):
        found = result_of(runtime, task.encode(ask["question"], [ask["context"]]))
        return _said(found["answer"], found["score"], probe)
    if isinstance(task, Classify) and task.settings.multi_label:
        found = result_of(runtime, task.encode(ask["text"]))
        return _said(sorted(found["chosen"]), found["score"], probe)
    if isinstance(task, Classify):
        found = result_of(runtime, task.encode(ask["text"]))
        return _said(None if found["abstained"] else found["label"], found["score"], probe)
    found = result_of(runtime, task.encode(ask["text"]), max_sentences=1)
    return _said(found["summary"], found["sentences"][0]["score"], probe)


def _said(answer: Any, score: float, probe: Probe) -> dict[str, Any]:
    right = probe["right"]
    expected = sorted(right) if isinstance(right, list) else right
    return {"says": answer, "score": round(float(score), 3), "is_right": answer == expected}
