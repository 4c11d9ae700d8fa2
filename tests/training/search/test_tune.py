"""The search: it goes on where it was stopped, prunes, and its test rows choose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from services.errors import UsageError
from training.recipe import Recipe, load_recipe
from training.search import tune as module
from training.search.importance import importance_plot
from training.search.space import Choice, read_space

optuna = pytest.importorskip("optuna")
MakeRecipe = Callable[..., Recipe]
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
    with pytest.raises(UsageError, match="holds a search of another recipe or of other keys"):
        module.tune(recipe, SPACE[:1], 2, tmp_path)


# Space and plot


def test_ranges_are_read_from_yaml() -> None:
    found = read_space(
        "{learning_rate: [1e-5, 1e-3], max_tokens: [64, 128], batch_size: {choices: [8, 16]}}"
    )
    rate, tokens, batch = found
    assert (rate.low, rate.high, rate.logarithmic, rate.whole) == (1e-5, 1e-3, True, False)
    assert (tokens.low, tokens.high, tokens.logarithmic, tokens.whole) == (64, 128, False, True)
    assert batch.choices == (8, 16)
    assert {choice.key for choice in read_space("")} >= {"learning_rate", "batch_size"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not YAML"),
        ("[]", "expected keys"),
        ("{lerning: [1, 2]}", "'lerning', which is no key"),
        ("{seed: [1, 2]}", "'seed', which is no key to search"),
        ("{epochs: 3}", r"epochs is 3; expected \[low, high\]"),
        ("{epochs: [3, 1]}", "expected the lower end first"),
    ],
)
def test_a_wrong_space_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_space(text)


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
