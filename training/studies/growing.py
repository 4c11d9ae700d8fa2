"""What transfer gives a generator: grown from an encoder, beside random weights, and shrunk again.

    transfer results growing data=dialogsum out=checkpoints/growing

Trains `dialogsum`, `dialogsum-scratch` and `dialogsum-distilled`, with the control of that, into
`out`/{grown,scratch,half}; what is finished there is read, and what was stopped goes on. All
summaries are written anew for the same test rows, beside those of what needs no training, so that
differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from services.errors import UsageError
from services.manifest import sha256_of
from training.baselines import lead, text_rank
from training.bases import WEIGHTS
from training.checkpoint import read_description
from training.data import load_data
from training.distill import distill
from training.evaluate import Evaluation, paired_loss, score_summaries
from training.finetune import finetune
from training.metrics.perplexity import perplexity
from training.metrics.writing import write_summaries
from training.recipe import Recipe, load_recipe
from training.rows import Document
from training.studies.finished import trained
from training.studies.seeds import student_recipe
from training.studies.spread import seeds_of

GROWN, SCRATCH, HALF = "grown", "scratch", "half"
LEAD, TEXT_RANK = "lead-3", "TextRank"
SENTENCES = 3  # of what needs no training
WHY_ONE = "a training takes most of an hour of two cores, and intervals are over the rows"

# Written for this project: what the models make of a talk they never saw.
EXAMPLES = (
    "#Person1#: Hi, I'd like to return this lamp. It flickers.\n"
    "#Person2#: Do you have the receipt?\n"
    "#Person1#: Yes, here. I bought it on Monday.\n"
    "#Person2#: We can give you your money back, or a new one.\n"
    "#Person1#: A new one, please. I like the lamp.",
    "#Person1#: Are you coming to the lake on Saturday?\n"
    "#Person2#: I'd love to, but I promised my sister to help her move.\n"
    "#Person1#: That's a pity. What about Sunday?\n"
    "#Person2#: Sunday is fine. Shall I bring something to eat?\n"
    "#Person1#: Bring a salad. I'll make the sandwiches.",
)

Record = dict[str, Any]


def measure_growing(
    name: str, overrides: Sequence[str], out: Path, tell: Callable[[str], None]
) -> Record:
    """Train what is missing below `out`, and score all ways on the test rows.

    name: a recipe of kind seq2seq that grows its model, beside NAME-scratch and NAME-distilled
    """
    recipes = recipes_of(name, overrides)
    splits = load_data(recipes[GROWN])
    rows: list[Document] = list(splits["test"])
    made = {}
    for way, recipe in recipes.items():
        tell(f"{way}: train")
        train = partial(finetune, recipe) if way != HALF else partial(distill, recipe, out / GROWN)
        made[way] = trained(out / way, recipe, partial(train, progress=False))
    _refuse_other_teacher(out)
    scores = {
        LEAD: score_summaries(rows, [lead(row, SENTENCES) for row in rows]),
        TEXT_RANK: score_summaries(rows, [text_rank(row, SENTENCES) for row in rows]),
    }
    found = {way: {"way": way, **score.record()} for way, score in scores.items()}
    for way, metrics in made.items():
        tell(f"{way}: write {len(rows)} summaries")
        texts, losses = write_summaries(out / way, rows)
        scores[way] = score_summaries(rows, texts)
        surprise = perplexity(losses)["value"]
        found[way] = {
            "way": way,
            **scores[way].record(),
            "perplexity": surprise,
            **{key: metrics["train"][key] for key in ("steps", "parameters")},
        }
    control = made[HALF].get("distillation", {}).get("without_teacher")
    if control:
        found["half without teacher"] = {"way": "half without teacher", **_scores(control)}
    grown = recipes[GROWN]
    return {
        "recipe": grown.name,
        "data": grown.data_attribution,
        "epochs": grown.epochs,
        "train_rows": {way: made[way]["train"]["rows"] for way in recipes},
        **seeds_of([grown.seed], WHY_ONE),
        "rows": list(found.values()),
        "gains": _gains(scores),
        "examples": _examples(out),
    }


def _refuse_other_teacher(out: Path) -> None:
    if read_description(out / HALF).parent != sha256_of(out / GROWN / WEIGHTS):
        raise UsageError(
            f"{out / HALF} learned from another model than {out / GROWN}.",
            "Remove it: it is made again.",
        )


def recipes_of(name: str, overrides: Sequence[str]) -> dict[str, Recipe]:
    """By way; raises UsageError for a recipe that grows nothing or stands alone."""
    grown = load_recipe(name, overrides)
    if grown.kind != "seq2seq" or not grown.decoder_layers:
        raise UsageError(
            f"Recipe {name} grows no generator.",
            "Name one of kind seq2seq with decoder_layers, e.g. recipe=dialogsum.",
        )
    half = student_recipe(name, overrides)
    if half is None:
        raise UsageError(f"There is no recipe {name}-distilled beside {name}.", "Write one.")
    path = Path(name)
    beside = path.with_name(f"{path.stem}-scratch{path.suffix}") if path.is_file() else None
    scratch = load_recipe(beside or f"{name}-scratch", overrides)
    if scratch.strategy != "scratch" or grown.strategy == "scratch":
        raise UsageError(
            f"{name} has strategy {grown.strategy} and {name}-scratch has {scratch.strategy}.",
            "Leave `strategy` out: growing and its control differ in it.",
        )
    return {GROWN: grown, SCRATCH: scratch, HALF: half}


def _scores(record: Record) -> Record:
    keys = ("metric", "value", "ci_low", "ci_high", "n", "rouge2", "rougeLsum")
    return {key: record[key] for key in keys}


def _gains(scores: dict[str, Evaluation]) -> list[Record]:
    """Of those pairs that a reader would ask for."""
    pairs = [(GROWN, SCRATCH), (GROWN, LEAD), (GROWN, HALF), (HALF, LEAD)]
    gains = []
    for better, worse in pairs:
        value, low, high = paired_loss(scores[better], scores[worse])
        gains.append({"way": better, "over": worse, "value": value, "ci_low": low, "ci_high": high})
    return gains


def _examples(out: Path) -> list[Record]:
    """What each model writes about texts of our own."""
    rows = [Document(tuple(text.splitlines()), references=("",)) for text in EXAMPLES]
    written = {way: write_summaries(out / way, rows)[0] for way in (SCRATCH, GROWN, HALF)}
    return [
        {"text": text, "written": {way: texts[at] for way, texts in written.items()}}
        for at, text in enumerate(EXAMPLES)
    ]
