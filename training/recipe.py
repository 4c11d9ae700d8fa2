"""A recipe: the YAML file that says how one checkpoint is trained.

    load_recipe("training/recipes/intent.yaml", ["data=clinc/data_oos_plus.json", "epochs=3"])

`extends: other.yaml` starts from another recipe of the same folder, so a preset holds only what
differs. Unknown keys and wrong types are refused, all at once.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import yaml

from services.errors import UsageError
from training.recipe_checks import wrong_values

RECIPES = Path(__file__).parent / "recipes"
# Younger than some checkpoints: where they are not set, their digest stays as it was.
YOUNGER = (
    *("extra_data", "derive", "relation_weight", "unlabelled", "group_by_length"),
    *("class_weights", "examples_per_class", "focal_gamma", "head_epochs", "last_layers"),
    *("layer_decay", "pooling", "reinit_layers", "sampling", "schedule", "unfreeze_ratio"),
)
TASK_OF_KIND = {
    "sequence-classification": "classify",
    "question-answering": "qa",
    "sentence-extraction": "summarize",
    "seq2seq": "summarize",
}


@dataclass(frozen=True)
class Recipe:
    """All keys of a recipe, with their units; what is not set keeps the default shown here.

    name: of the model it makes, e.g. "intent"
    kind: the shape of the job; decides the head, the loss and the task it serves
    base: "embedded", a folder, or a hub id
    start: a finished checkpoint of the same base and kind to go on from, with this recipe's rows
        (with other labels: its encoder alone); empty: start from the base
    data: a file, a folder with train/dev/test files, or a Hugging Face data set id
    data_config: configuration name of a hub data set
    extra_data: recipe of more data of the same kind -> where that lies (empty: where its recipe
        says); its training and dev rows join those of `data`, as many as its `train_rows` and
        `dev_rows` allow, the test rows stay those of `data`
    derive: principal-sentences: the data are articles with questions, of which documents with key
        sentences are made, see `training.principal`
    columns: our field -> the data's column (a name, or a position in files without a header; for
        references also a list of names, of which those that a row has count)
    splits: train/dev/test -> the data's names (a name or a list); dev is cut from train if absent
    split_column: of a single file: the column that names each row's split
    skip_column: rows where this column is true are left out, e.g. known duplicates
    label_separator: splits one cell into several labels (multi-label)
    label_names: file beside the data, or list, that turns label numbers into names
    out_of_scope: the label that means "none of these": never trained as a class, used to set the
        threshold below which the classifier abstains
    out_of_scope_weight: weight of a loss that makes the model undecided about training rows out of
        scope (outlier exposure, Hendrycks et al. 2019; 0: they are not trained on, and help to set
        the threshold)
    calibration_data: qa: a file of questions with and without an answer; the half of its articles
        that a hash picks chooses when no answer is given, the other half is only reported
    null_ratio: qa: questions without an answer added per question, each with another paragraph of
        the same article
    train_rows, dev_rows, test_rows: use at most that many (0: all), drawn by data_seed
    examples_per_class: train on at most that many rows of each label (0: all), drawn by data_seed;
        the rows of a smaller number are among those of a larger one
    data_seed: draws rows, cuts splits and makes null questions (empty: like `seed`); fixed, it lets
        trainings with other seeds learn from and be scored on the same rows
    summary_sentences: sentences in a summary when the summarizer is evaluated (0: as many as the
        row has key sentences)
    strategy: what moves, and from where; see `training.strategies` for all of them
    last_layers: last_n: how many layers move besides the head
    unfreeze_ratio: gradual: the share of the training after which all layers move
    layer_decay: discriminative, gradual: each layer learns that many times slower than the one
        above it (Howard & Ruder 2018: 2.6)
    reinit_layers: reinit_top: how many of the last layers start from random weights
    head_epochs: two_stage: epochs of its first stage, on cached features
    pooling: mean: a classifier reads the mean of a text's last hidden states instead of what its
        architecture reads, mostly the first token; see `training.pooling`
    decoder_layers: seq2seq on an encoder base: the layers of it that a decoder is grown from, in
        that order (empty: the base is an encoder-decoder); see `training.grow`
    cross_attention: of a grown decoder: copied from the self-attention of the same layer, or random
    new_tokens: seq2seq: words that become one token each, such as the names of speakers
    freeze_embeddings: full: keep token, position and type embeddings as they are
    head_learning_rate: of the layers that the base does not have (0: like the others); new layers
        can bear more than pretrained ones
    schedule: of the rates: linear, slanted_triangular (empty: linear; slanted for the strategies
        that were published with it); both rise over warmup_ratio first
    label_smoothing: of one label per text, and of the tokens that seq2seq writes
    class_weights: balanced: labels count by the inverse of how frequent they are; effective: by
        that of their effective number of rows (Cui et al. 2019); see `training.imbalance`
    focal_gamma: rows count less the surer the model is of them (Lin et al. 2017: 2; 0: all alike)
    sampling: balanced: rows are drawn so that all labels are equally frequent
    max_steps: stop after that many optimizer steps (0: `epochs` decides)
    batch_size: windows per step and process; accumulate: steps per update
    evaluations: times per training that the dev set is scored and a checkpoint is kept
    patience: stop after that many scorings without a better one (0: never)
    bf16: autocast to bfloat16
    group_by_length: put windows of similar length into one batch, so that little is padding
    dropout: share of activations dropped in every layer while training (empty: as the base's
        config says); 0 suits an epoch or two of many rows, and on a CPU saves a third of the time
    attention: how transformers computes it while training: eager, sdpa (empty: its own choice);
        in bf16 on a CPU eager is the faster for windows of a few hundred tokens
    student_layers: distill: the teacher's layers that the student is built from (the decoder's
        for seq2seq)
    temperature, alpha: distill: soft targets at that temperature count alpha, the labels 1 - alpha
        (Hinton et al. 2015); sentence-extraction and seq2seq have no temperature
    hidden_weight: distill: weight of the distance between the last hidden states
    relation_weight: distill: weight of the distance between the relations of queries, keys and
        values in the last layer (Wang et al. 2021)
    unlabelled: distill a classifier: texts that the teacher alone teaches, besides the rows: a file
        or data set (a column `text`, labels are ignored), or "derived": damaged copies of the rows
    """

    name: str
    kind: str
    description: str = ""
    base: str = "embedded"
    start: str = ""
    data: str = ""
    data_config: str = ""
    data_licence: str = ""
    data_attribution: str = ""
    extra_data: dict[str, str] = field(default_factory=dict)
    derive: str = ""
    columns: dict[str, str | int | list[str]] = field(default_factory=dict)
    splits: dict[str, str | list[str]] = field(default_factory=dict)
    split_column: str = ""
    skip_column: str = ""
    label_separator: str = "|"
    label_names: str | list[str] = ""
    out_of_scope: str = ""
    out_of_scope_weight: float = 0.0
    multi_label: bool = False
    calibration_data: str = ""
    null_ratio: float = 0.0
    examples_per_class: int = 0
    train_rows: int = 0
    dev_rows: int = 0
    test_rows: int = 0
    summary_sentences: int = 3
    max_tokens: int = 256
    max_target_tokens: int = 64
    stride: int = 32
    strategy: str = "full"
    last_layers: int = 2
    unfreeze_ratio: float = 0.5
    layer_decay: float = 2.6
    reinit_layers: int = 1
    head_epochs: float = 20.0
    pooling: str = ""
    decoder_layers: list[int] = field(default_factory=list)
    cross_attention: str = "copied"
    new_tokens: list[str] = field(default_factory=list)
    freeze_embeddings: bool = True
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    epochs: float = 3.0
    max_steps: int = 0
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-4
    head_learning_rate: float = 0.0
    schedule: str = ""
    warmup_ratio: float = 0.06
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    class_weights: str = ""
    focal_gamma: float = 0.0
    sampling: str = ""
    evaluations: int = 4
    patience: int = 0
    bf16: bool = False
    group_by_length: bool = True
    dropout: float | None = None
    attention: str = ""
    gradient_checkpointing: bool = False
    seed: int = 7
    data_seed: int | None = None
    student_layers: list[int] = field(default_factory=list)
    temperature: float = 2.0
    alpha: float = 0.7
    hidden_weight: float = 0.0
    relation_weight: float = 0.0
    unlabelled: str = ""

    @property
    def task(self) -> str:
        return TASK_OF_KIND[self.kind]

    @property
    def rows_seed(self) -> int:
        """The seed of everything that is drawn from the data."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def credits(self) -> tuple[str, str]:
        """(licences, attributions) of all the data that it trains on."""
        recipes = [self, *(extra_recipe(self, name) for name in self.extra_data)]
        licences = dict.fromkeys(one.data_licence for one in recipes if one.data_licence)
        owners = dict.fromkeys(one.data_attribution for one in recipes if one.data_attribution)
        return ", ".join(licences), "; ".join(owners)

    @property
    def digest(self) -> str:
        """sha256 of the resolved recipe; where the data lies does not count."""
        content = {**asdict(self), "data": "", "start": bool(self.start)}
        content["calibration_data"] = bool(self.calibration_data)
        content["extra_data"] = sorted(self.extra_data)
        content["unlabelled"] = Path(self.unlabelled).name
        unset = asdict(Recipe(self.name, self.kind))
        for key in YOUNGER:
            if content[key] in (unset[key], []):
                del content[key]
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    def save(self, path: Path) -> None:
        path.write_text(yaml.safe_dump(asdict(self), sort_keys=False), encoding="utf-8")


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file (or the name of a preset) and apply `key=value` overrides."""
    return parse_recipe({**_read(find_recipe(path)), **parse_overrides(overrides)}, str(path))


def extra_recipe(recipe: Recipe, name: str) -> Recipe:
    """The recipe of one more data set of `recipe`; raises UsageError where it does not fit."""
    path = recipe.extra_data[name]
    extra = load_recipe(name, [f"data={path}"] if path else [])
    if extra.kind != recipe.kind or extra.extra_data:
        found = "extra data of its own" if extra.extra_data else f"rows for {extra.kind}"
        raise UsageError(
            f"extra_data: {name} has {found}; {recipe.name} is for {recipe.kind}.",
            "Name recipes of the same kind, each with one data set.",
        )
    return extra


def find_recipe(path: str | Path) -> Path:
    """`path` as it is, or the preset of that name."""
    for candidate in (Path(path), RECIPES / f"{path}", RECIPES / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    presets = ", ".join(sorted(map(preset_name, RECIPES.rglob("*.yaml"))))
    raise UsageError(
        f"No recipe {path!s}; expected a YAML file or a preset.", f"Presets: {presets}."
    )


def preset_name(path: Path) -> str:
    """What a preset is called on the command line: `intent`, `hub/bert-sst2`."""
    return path.relative_to(RECIPES).with_suffix("").as_posix()


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`["max_steps=3", "strategy=lora"]` to typed values; raises UsageError without a `=`."""
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is not key=value.", "Write e.g. `max_steps=3`.")
        try:
            values[key] = yaml.safe_load(value) if value else ""
        except yaml.YAMLError as error:
            raise UsageError(
                f"{override!r} is not key=value with a YAML value.", "Quote it: key='\"...\"'."
            ) from error
    return values


def parse_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """Check keys, types and choices; raises UsageError that lists every fault."""
    known = {item.name: item for item in fields(Recipe)}
    faults = [_unknown_key(key, known) for key in values if key not in known]
    faults += [f"{key} is missing" for key in ("name", "kind") if not values.get(key)]
    checked: dict[str, Any] = {}
    for key in (key for key in values if key in known):
        try:
            checked[key] = msgspec.convert(values[key], key_types()[key], strict=False)
        except msgspec.ValidationError as error:
            faults.append(f"{key}: {values[key]!r} does not fit ({error})")
    faults += wrong_values(checked, _defaults())
    if faults:
        raise UsageError(
            f"{origin}: " + "; ".join(faults) + ".", "See training/recipe.py for all keys."
        )
    return Recipe(**checked)


def changed(recipe: Recipe, changes: Mapping[str, Any], origin: str) -> Recipe:
    """`recipe` with `changes`, held to the same checks as a file; raises UsageError."""
    return parse_recipe({**asdict(recipe), **changes}, origin)


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise UsageError(f"{path} extends itself.", "Remove the `extends` that closes the circle.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}).",
            "`extends` names a file beside the recipe.",
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}.", "Mend the line it names.") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds {type(values).__name__}; expected keys and values.")
    parent = values.pop("extends", None)
    return {**(_read(path.parent / str(parent), (*seen, path)) if parent else {}), **values}


@cache
def key_types() -> dict[str, Any]:
    """The type of each key."""
    return get_type_hints(Recipe)


def _defaults() -> dict[str, Any]:
    """Of the keys that have a plain one."""
    return {item.name: item.default for item in fields(Recipe) if item.default is not MISSING}


def _unknown_key(key: Any, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(key), known, n=1)
    return f"unknown key {key!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
