"""What the documents say is what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from services.schemas import ROUTES, decode_request
from services.settings import Settings
from training.recipe import Recipe, load_recipe

ROOT = Path(__file__).parent.parent
CURL = re.compile(r"curl -s localhost:3000(/\S+) -H \S+ \S+ \\\n  -d '(.+)'")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def documented_settings() -> dict[str, str]:
    part = read("docs/api.md").split("<!-- settings:begin -->")[1].split("<!-- settings:end -->")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", part, flags=re.M))


def test_every_setting_is_documented_and_no_other() -> None:
    expected = {f"TRANSFER_{field.name.upper()}" for field in fields(Settings)}
    assert set(documented_settings()) == expected | {"BENTOML_HOME"}


def test_documented_defaults_of_numbers_are_the_real_ones() -> None:
    documented = documented_settings()
    for field in fields(Settings):
        if field.default is not MISSING and isinstance(field.default, int | float):
            shown = documented[f"TRANSFER_{field.name.upper()}"]
            assert float(shown) == field.default, field.name


@pytest.mark.parametrize(("route", "body"), CURL.findall(read("README.md")))
def test_calls_of_the_readme_are_valid_requests(route: str, body: str) -> None:
    request = decode_request(body.encode(), ROUTES[route])
    assert json.loads(body).keys() <= set(request.__struct_fields__)


def test_the_readme_shows_a_call_for_every_task() -> None:
    routes = {route for route, _ in CURL.findall(read("README.md"))}
    assert {"/classify", "/qa", "/summarize", "/compare"} <= routes


def test_the_recipe_in_the_pipeline_page_is_the_preset() -> None:
    shown = read("docs/pipeline.md").split("```yaml\n")[1].split("```")[0]
    preset = read("training/recipes/sample-tickets.yaml")
    for line in shown.splitlines()[1:]:
        assert line in preset.splitlines()


def test_every_recipe_key_is_explained() -> None:
    explained = Recipe.__doc__ or ""
    plain = {"description", "epochs", "learning_rate", "warmup_ratio", "weight_decay", "seed"}
    plain |= {"data_licence", "data_attribution", "max_tokens", "max_target_tokens", "stride"}
    plain |= {"label_smoothing", "gradient_checkpointing", "multi_label"}
    plain |= {"lora_r", "lora_alpha", "lora_dropout"}
    for field in fields(Recipe):
        assert field.name in plain or re.search(rf"\b{field.name}\b", explained), field.name


@pytest.mark.parametrize("model", ["intent", "emotion", "reader", "highlights"])
def test_shipped_recipes_name_their_licence_and_source(model: str) -> None:
    recipe = load_recipe(model)
    assert recipe.data_licence in {"CC-BY-3.0", "Apache-2.0", "CC-BY-SA-4.0"}
    assert recipe.data_attribution.split(",")[0] in read("NOTICE") + recipe.data_attribution
