"""The search: it goes on where it was stopped, prunes, and its test rows choose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from services.errors import UsageError
from training import teacher as teacher_module
from training.distill import distill
from training.recipe import Recipe, load_recipe
from training.search import tune as module
from training.search.importance import importance_plot
from training.search.space import DEFAULT, DEFAULT_OF_STUDENTS, Choice, read_space

optuna = pytest.importorskip("optuna")
MakeRecipe = Callable[..., Recipe]
Teachers = Callable[[str, str], Path]
PLAIN = Recipe("x", "sequence-classification")
SPACE = [Choice("learning_rate", 1e-4, 1e-2), Choice("batch_size", choices=(4, 8))]


@pytest.fixture
def recipe(make_recipe: MakeRecipe) -> Recipe:
    return make_recipe("intent", max_steps=4, evaluations=2)


def test_a_search_that_was_stopped_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    module.tune(recipe, SPACE, 2, tmp_path)
    found = module.tune(recipe, SPACE, 4, tmp_path)
    assert found["trials"] == 4
    assert [entry["trial"] for entry in found["history"]] == [0, 1, 2, 3]
    scores = [entry["dev"] for entry in found["history"] if entry["state"] == "complete"]
    assert found["best"]["dev"] == max(scores)
    assert len({entry["learning_rate"] for entry in found["history"]}) == 4
    assert all(1e-4 <= entry["learning_rate"] <= 1e-2 for entry in found["history"])
    assert json.loads((tmp_path / "tune.json").read_text(encoding="utf-8")) == found


def test_the_best_recipe_and_its_checkpoint_are_kept_alone(recipe: Recipe, tmp_path: Path) -> None:
    found = module.tune(recipe, SPACE, 3, tmp_path)
    best = load_recipe(tmp_path / "best.yaml")
    assert best.learning_rate == pytest.approx(found["best"]["learning_rate"])
    assert best.batch_size == found["best"]["batch_size"]
    kept = [path.name for path in (tmp_path / "trials").iterdir()]
    assert kept == [str(found["best"]["trial"])]
    metrics = json.loads((tmp_path / "trials" / kept[0] / "metrics.json").read_text("utf-8"))
    assert found["test"] == metrics["test"]


def test_a_killed_trial_is_asked_for_anew(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "finetune", die)
        with pytest.raises(Killed):
            module.tune(recipe, SPACE, 1, tmp_path)
    assert module.tune(recipe, SPACE, 1, tmp_path)["trials"] == 1


def test_a_hopeless_trial_is_pruned(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials report what we say; the one that is far below the median does not reach its end."""
    scores = iter([0.9] * module.FIRST_TRIALS + [0.1])

    def finetune(one: Recipe, out: Path, progress: bool) -> Path:
        score = next(scores)
        (callback,) = module.watch().callbacks
        for step in (1, 2):
            state = type("State", (), {"global_step": step, "max_steps": 2})
            callback.on_evaluate(None, state, None, metrics={"eval_score": score})
        out.mkdir(parents=True)
        content = {"test": {}, "train": {"dev_best": score, "wall_time_s": 1.0}}
        (out / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
        return out

    monkeypatch.setattr(module, "finetune", finetune)
    found = module.tune(recipe, SPACE, module.FIRST_TRIALS + 1, tmp_path)
    assert found["pruned"] == 1
    assert found["history"][-1]["state"] == "pruned"


def test_another_search_in_the_same_folder_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    module.tune(recipe, SPACE, 1, tmp_path)
    with pytest.raises(UsageError, match="holds a search of another recipe, other keys"):
        module.tune(recipe, SPACE[:1], 2, tmp_path)


def test_a_training_in_two_stages_reports_the_last_alone(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[int] = []
    plain = optuna.trial.Trial.report

    def report(trial: Any, value: float, step: int) -> None:
        reported.append(step)
        plain(trial, value, step)

    monkeypatch.setattr(optuna.trial.Trial, "report", report)
    recipe = make_recipe("intent", strategy="two_stage", head_epochs=1, max_steps=4, evaluations=2)
    module.tune(recipe, SPACE[:1], 1, tmp_path)
    assert reported == [50, 100]


# With a teacher


def test_students_are_searched_and_their_teacher_runs_once(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    class Runner(teacher_module.TorchRunner):
        def __call__(self, windows: Any) -> Any:
            runs.append(len(windows))
            return super().__call__(windows)

    monkeypatch.setattr(teacher_module, "TorchRunner", Runner)
    recipe = make_recipe("intent", student_layers=[0, 2], max_steps=2, evaluations=1)
    space = [Choice("temperature", 1.0, 8.0), Choice("alpha", 0.5, 1.0)]
    teacher = teachers("intent", "bert")
    found = module.tune(recipe, space, 2, tmp_path / "out", teachers=[teacher])
    assert len(runs) == 1
    assert (found["teachers"], found["trials"], "test" in found) == (1, 2, False)
    assert not list((tmp_path / "out" / "trials").iterdir())
    best = load_recipe(tmp_path / "out" / "best.yaml")
    assert best.temperature == found["best"]["temperature"] != recipe.temperature
    out = distill(best, teacher, tmp_path / "student", False, control=False)
    made = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert made["train"]["dev_best"] == found["best"]["dev"]


def test_the_trials_of_another_teacher_are_not_gone_on_with(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", student_layers=[0], max_steps=1, evaluations=1)
    space = [Choice("alpha", 0.5, 1.0)]
    teacher = teachers("intent", "bert")
    module.tune(recipe, space, 1, tmp_path, teachers=[teacher])
    with pytest.raises(UsageError, match="other keys or teachers"):
        module.tune(recipe, space, 2, tmp_path, teachers=[teacher, teacher])


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("dialogue", "is for seq2seq, which learns from written summaries"),
        ("reader", "is a sequence-classification checkpoint"),
    ],
)
def test_a_recipe_that_the_teacher_cannot_teach_is_refused_at_once(
    job: str, message: str, teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(job, "bart" if job == "dialogue" else "bert", student_layers=[0])
    space = [Choice("alpha", 0.5, 1.0)]
    with pytest.raises(UsageError, match=message):
        module.tune(recipe, space, 1, tmp_path / "out", teachers=[teachers("intent", "bert")])
    assert not (tmp_path / "out").exists()


# Space and plot


def test_ranges_are_read_from_yaml() -> None:
    found = read_space(
        "{learning_rate: [1e-5, 1e-3], max_tokens: [64, 128], batch_size: {choices: [8, 16]}}",
        PLAIN,
    )
    rate, tokens, batch = found
    assert (rate.low, rate.high, rate.logarithmic, rate.whole) == (1e-5, 1e-3, True, False)
    assert (tokens.low, tokens.high, tokens.logarithmic, tokens.whole) == (64, 128, False, True)
    assert batch.choices == (8, 16)


@pytest.mark.parametrize(
    ("recipe", "taught", "without"),
    [
        (PLAIN, False, {"temperature", "alpha"}),
        (PLAIN, True, set()),
        (replace(PLAIN, focal_gamma=2.0), True, {"label_smoothing"}),
        (replace(PLAIN, multi_label=True), True, {"label_smoothing"}),
        (Recipe("x", "question-answering"), True, {"label_smoothing"}),
        (Recipe("x", "sentence-extraction"), True, {"label_smoothing", "temperature"}),
        (Recipe("x", "seq2seq"), False, {"temperature", "alpha"}),
    ],
)
def test_the_default_space_has_what_changes_something(
    recipe: Recipe, taught: bool, without: set[str]
) -> None:
    keys = {choice.key for choice in read_space("", recipe, taught)}
    assert keys == {*DEFAULT, *DEFAULT_OF_STUDENTS} - without


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not YAML"),
        ("[]", "expected keys"),
        ("{lerning: [1, 2]}", "'lerning', which is no key"),
        ("{seed: [1, 2]}", "'seed', which is no key to search"),
        ("{epochs: 3}", r"epochs is 3; expected \[low, high\]"),
        ("{epochs: [3, 1]}", "expected the lower end first"),
        ("{batch_size: [4.0, 8.0]}", r"batch_size is \[4.0, 8.0\]; expected whole numbers"),
        ("{decoder_layers: {choices: [[0], [1]]}}", r"choice \[0\]; expected texts, numbers"),
        ("{temperature: [1.0, 4.0]}", "temperature, which only concerns a teacher"),
        ("{student_layers: [1, 4]}", "'student_layers', which is no key to search"),
    ],
)
def test_a_wrong_space_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_space(text, PLAIN)


def test_what_a_teacher_decides_is_not_searched_with_one() -> None:
    assert read_space("{temperature: [1.0, 4.0]}", PLAIN, taught=True)
    with pytest.raises(UsageError, match="search names strategy; a student moves whole"):
        read_space("{strategy: {choices: [full, lora]}}", PLAIN, taught=True)


@pytest.mark.parametrize(
    ("changes", "space", "message"),
    [
        (
            {"focal_gamma": 2.0},
            [Choice("label_smoothing", 0.0, 0.1)],
            "may draw label_smoothing=0.1: focal_gamma does not go with label_smoothing",
        ),
        (
            {},
            [Choice("focal_gamma", 0.0, 2.0), Choice("label_smoothing", 0.0, 0.1)],
            r"may draw focal_gamma=2.0 label_smoothing=0.1: focal_gamma does not go",
        ),
        ({}, [Choice("epochs", choices=("many", 2))], "may draw epochs=many: epochs: 'many' does"),
        ({"student_layers": [0]}, SPACE, "has student_layers; without a teacher"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused_before_the_first_trial(
    changes: dict[str, Any],
    space: list[Choice],
    message: str,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=message):
        module.tune(make_recipe("intent", **changes), space, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_plot_has_a_bar_for_each_key() -> None:
    drawn = ElementTree.fromstring(importance_plot({"batch_size": 0.2, "learning_rate": 0.8}))
    texts = [element.text for element in drawn.iter() if element.tag.endswith("}text")]
    assert texts[1:] == ["learning_rate", "0.80", "batch_size", "0.20"]


def test_the_verb_searches_and_tells_the_best(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import transfer

    recipe.save(tmp_path / "mine.yaml")
    settings = ["trials=1", "search={learning_rate: [1e-4, 1e-2]}", f"out={tmp_path / 'out'}"]
    assert transfer.main(["tune", str(tmp_path / "mine.yaml"), *settings]) == 0
    told = capsys.readouterr().out
    assert "1 trials, 0 of them pruned" in told and "learning_rate: " in told
    assert load_recipe(tmp_path / "out" / "best.yaml").name == recipe.name


def test_the_verb_searches_with_a_teacher(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import transfer

    make_recipe("intent", student_layers=[0], max_steps=1).save(tmp_path / "mine.yaml")
    teacher = teachers("intent", "bert")
    settings = [f"teacher={teacher}", "trials=1", f"out={tmp_path / 'out'}"]
    searched = [*settings, "search={temperature: [1.0, 4.0]}"]
    assert transfer.main(["tune", str(tmp_path / "mine.yaml"), *searched]) == 0
    told = capsys.readouterr().out
    assert "temperature: " in told and "test " not in told
    assert f"`transfer distill {tmp_path / 'out' / 'best.yaml'} teacher={teacher}`" in told
