"""Articles with questions become excerpts whose principal sentences are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.training.tiny_data import NAMES
from training.data import load_data
from training.principal import SHARE, WORDS, principal_document, principal_documents
from training.recipe import Recipe
from training.rows import Document, Question

CONTEXT = (
    "The pump of line four failed at noon. Lunch was late. "
    "A worn seal of the pump of line four was the cause. It rained. People went home."
)


def asked(context: str, *answers: str, article: str = "Pumps") -> list[Question]:
    return [
        Question(f"{article}-{i}", f"What is {answer}?", context, ((answer, start),), article)
        for i, answer in enumerate(answers)
        for start in [context.index(answer)]
    ]


def test_principal_sentences_answer_questions_and_are_central() -> None:
    found = principal_document([asked(CONTEXT, "worn seal", "noon", "line four failed")])
    assert found is not None
    assert found.sentences[1] == "Lunch was late."
    assert found.key == (0, 2)  # two of five
    assert found.references == (
        "What is worn seal? worn seal What is noon? noon What is line four failed? "
        "line four failed",
    )


def test_an_answer_lifts_a_sentence_unless_it_shares_nothing_with_the_text() -> None:
    key = {}
    for answer in ("rained", "Lunch"):
        found = principal_document([asked(CONTEXT, answer, answer)])
        assert found is not None
        key[answer] = found.key
    assert key == {"rained": (0, 2), "Lunch": (1, 2)}


def test_too_few_sentences_leave_nothing_to_choose() -> None:
    assert principal_document([asked("One pump. Two lamps. Three cars.", "pump")]) is None


def test_paragraphs_are_joined_until_an_excerpt_is_long_enough() -> None:
    contexts = [f"{CONTEXT} This is paragraph {i}." for i in range(60)]
    rows = [row for context in contexts for row in asked(context, "noon", "cause")]
    found = principal_documents(rows)
    lengths = [len(document.text.split()) for document in found]
    paragraph = len(contexts[0].split())
    assert sum(lengths) == 60 * paragraph
    assert all(WORDS[0] <= length <= WORDS[1] + paragraph for length in lengths[:-1])
    assert len(set(lengths)) > 3
    assert " ".join(document.text for document in found) == " ".join(contexts)
    assert all(len(document.key) == round(SHARE * len(document.sentences)) for document in found)


def test_excerpts_of_an_article_do_not_depend_on_the_others() -> None:
    rows = {
        name: [
            row
            for i in range(20)
            for row in asked(f"{CONTEXT} {name} has paragraph {i}.", "noon", article=name)
        ]
        for name in ("Pumps", "Seals")
    }
    alone = principal_documents(rows["Seals"])
    assert principal_documents(rows["Pumps"] + rows["Seals"])[-len(alone) :] == alone


def test_a_recipe_derives_documents_and_holds_out_whole_articles(tmp_path: Path) -> None:
    articles = [
        {
            "title": name,
            "paragraphs": [
                {
                    "context": f"{CONTEXT} {name} said so.",
                    "qas": [
                        {
                            "id": name,
                            "question": "What failed?",
                            "answers": [{"text": "pump", "answer_start": CONTEXT.index("pump")}],
                        }
                    ],
                }
            ],
        }
        for name in NAMES
    ]
    (tmp_path / "articles.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    recipe = Recipe(
        name="principal",
        kind="sentence-extraction",
        data=str(tmp_path / "articles.json"),
        derive="principal-sentences",
        summary_sentences=0,
    )
    splits = load_data(recipe)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 8, "dev": 1, "test": 1}
    assert {type(row) for rows in splits.values() for row in rows} == {Document}
    assert {row.text.split()[-3] for rows in splits.values() for row in rows} == {*NAMES}
    assert load_data(replace(recipe, seed=8)) != splits
