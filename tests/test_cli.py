"""The command line: exit codes, one-line errors, JSON for machines."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import transfer
from commands import measuring, places, serving
from commands.trials import shown
from export.publish import publish, write_lock
from services.lock import read_lock
from services.registry import variant_path
from tests.export.models import flip_last_byte, write_adapters
from tests.export.store import bentoml_store
from tests.services import tiny

ROOT = Path(__file__).parents[1]
VERBS = (
    *("build", "train", "distill", "add-class", "export", "pack", "cards", "serve", "demo"),
    *("errors", "results", "seeds", "predict", "compare", "bench", "choose"),
    *("models", "doctor", "plan"),
)
PUBLISHED = [
    *(("intent", "full"), ("intent", "distilled-int8"), ("emotion", "full")),
    *(("reader", "full"), ("highlights", "full"), ("zeroshot", "full")),
]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A store without a variant, and every folder of the command line elsewhere."""
    for name in ("WORK", "ADAPTERS", "CHECKPOINTS"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    for name in [name for name in os.environ if name.startswith("TRANSFER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRANSFER_LOCK", str(tmp_path / "lock.json"))
    with bentoml_store(tmp_path / "home"):
        yield tmp_path


@pytest.fixture
def published(empty):
    """Tiny variants of every task in the store."""
    tags = {
        f"{model}/{variant}": publish(
            tiny.write_variant(empty / "variants" / model / variant, model, variant)
        )
        for model, variant in PUBLISHED
    }
    write_lock(empty / "lock.json", tags)
    return empty


def stored(folder, key):
    return variant_path(read_lock(folder / "lock.json")[key])


@pytest.fixture
def run(capsys, monkeypatch):
    """run("predict", "qa", stdin="...") -> (exit code, stdout, stderr)."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = transfer.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def refused(result, code, *parts):
    """One line on stderr, nothing on stdout, the exit code, and what the line must say."""
    found, out, err = result
    assert (found, out) == (code, "")
    assert err.startswith("transfer: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert part in err


def process(*arguments, stdin="", **environ):
    return subprocess.run(
        [sys.executable, ROOT / "transfer.py", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environ},
        timeout=300,
        check=False,
    )


# Help, and what is imported when


def test_help_lists_every_verb_and_imports_nothing_heavy():
    code = (
        "import sys, transfer\n"
        "try: transfer.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'transformers', 'bentoml', 'onnxruntime', 'optimum', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for verb in VERBS:
        assert re.search(rf"^    {verb}(  |$)", done.stdout, re.MULTILINE), verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_speaks_json(verb, capsys):
    with pytest.raises(SystemExit) as end:
        transfer.main([verb, "--help"])
    assert end.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["nonsense"], ["predict"], ["predict", "sing"], ["serve", "--port", "x"], ["train"]),
        *(["models", "a=b"], ["distill", "x", "--no-control", "a=b", "--nope"]),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        transfer.main(arguments)
    assert end.value.code == 2
    assert "usage: transfer" in capsys.readouterr().err


# predict


def predicted(run, *arguments, stdin):
    code, out, err = run("predict", *arguments, stdin=stdin)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_predict_classify_answers_each_line(published, run):
    answers = predicted(run, "classify", stdin="please send money\n\nfreeze my card\n")
    assert [answer["results"][0]["label"] for answer in answers] == [
        "transfer_money",
        "freeze_card",
    ]
    assert {(a["model"], a["variant"]) for a in answers} == {("intent", "distilled-int8")}


def test_predict_takes_model_and_variant(published, run):
    (answer,) = predicted(
        *(run, "classify", "--model", "emotion", "--variant", "full"), stdin="i am happy\n"
    )
    assert (answer["model"], answer["variant"]) == ("emotion", "full")
    assert answer["results"][0]["chosen"] == ["joy"]


def test_predict_takes_json_lines(published, run):
    body = {"text": ["my parcel", "the invoice"], "labels": ["delivery", "payment"]}
    (answer,) = predicted(run, "classify", stdin=json.dumps(body) + "\n")
    assert answer["model"] == "zeroshot"
    assert [result["label"] for result in answer["results"]] == ["delivery", "payment"]


def test_predict_qa_answers_a_question_of_every_line(published, run):
    text = "The card costs twenty please."
    (answer,) = predicted(run, "qa", "--question", "how much", stdin=f"{text}\n")
    found = answer["results"][0]
    assert found["answer"] == "twenty"
    assert text[found["start"] : found["end"]] == "twenty"


def test_predict_summarize_picks_the_telling_sentence(published, run):
    text = "It is a card. The delivery is important. My bill."
    body = {"text": text, "max_sentences": 1}
    (answer,) = predicted(run, "summarize", stdin=json.dumps(body))
    assert answer["results"][0]["summary"] == "The delivery is important."


def test_predict_of_nothing_is_nothing(published, run):
    assert predicted(run, "classify", stdin="\n  \n") == []


def test_a_fault_of_one_text_is_in_its_result(published, run):
    body = {"text": ["send money", " "]}
    (answer,) = predicted(run, "classify", stdin=json.dumps(body))
    assert answer["results"][0]["label"] == "transfer_money"
    assert answer["results"][1]["error"]["code"] == "empty_text"


def test_bytes_that_are_no_text_are_a_fault_of_their_line(published, run, monkeypatch):
    lines = io.TextIOWrapper(io.BytesIO(b"caf\xe9 money\nsend money\n"), encoding="ascii")
    monkeypatch.setattr(io, "StringIO", lambda text: lines)
    bad, good = predicted(run, "classify", stdin="")
    assert bad["results"][0]["error"]["code"] == "invalid_unicode"
    assert good["results"][0]["label"] == "transfer_money"


def test_predict_as_a_process(published):
    lock = str(published / "lock.json")
    arguments = ("predict", "classify", "--model", "intent")
    done = process(*arguments, stdin="send money\n", TRANSFER_LOCK=lock)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["results"][0]["label"] == "transfer_money"


def test_an_error_as_a_process(published):
    done = process("predict", "classify", "--model", "nope", stdin="a\n")
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith("transfer: ")
    assert done.stderr.count("\n") == 1


# models, doctor, compare


def test_models_as_json(published, run):
    code, out, _ = run("models", "--json")
    models = json.loads(out)["models"]
    assert code == 0
    assert [(row["model"], row["variant"]) for row in models] == sorted(PUBLISHED)
    for row in models:
        assert set(row) == {
            *("model", "variant", "task", "base", "parameters", "size_bytes", "quality"),
            *("sha256", "loaded", "memory_mb", "plan", "default", "path"),
        }
        assert (Path(row["path"]) / "model.onnx").is_file()
        assert (Path(row["path"]) / "tokenizer.json").is_file()
    defaults = {(row["model"], row["variant"]) for row in models if row["default"]}
    assert ("intent", "distilled-int8") in defaults
    assert ("intent", "full") not in defaults


def test_models_for_people(published, run):
    code, out, err = run("models")
    assert (code, err, len(out.splitlines())) == (0, "", len(PUBLISHED))
    assert out.startswith("emotion     full")


def test_doctor_as_json(published, run):
    code, out, _ = run("doctor", "--json", "--port", 0)
    findings = {finding["name"]: finding for finding in json.loads(out)["findings"]}
    assert findings["variants"]["ok"] is True
    assert code == (1 if any(f["ok"] is False for f in findings.values()) else 0)


def test_doctor_fails_on_a_tampered_graph(published, run):
    flip_last_byte(stored(published, "intent/full") / "model.onnx")
    code, out, _ = run("doctor", "--port", 0)
    (line,) = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert code == 1
    assert "model.onnx has sha256" in line


def test_compare_as_json(published, run, tmp_path):
    rows = [
        {"text": "send money", "label": "transfer_money"},
        {"text": "freeze my card", "label": "freeze_card"},
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run("compare", "intent", "--data", data, "--offline", "--json")
    report = json.loads(out)
    assert code == 0
    assert [entry["variant"] for entry in report["variants"]] == ["full", "distilled-int8"]
    assert report["variants"][0]["quality"]["value"] == 1.0


def test_compare_asks_for_a_report_of_the_users_own_texts(published, run, tmp_path, monkeypatch):
    from load_tests import bench

    orders = []

    class Told:
        def __init__(self, order):
            orders.append(order)

        def run(self):
            return Path("reports/compare-intent/tradeoff.html")

    monkeypatch.setattr(bench, "Bench", Told)
    monkeypatch.setattr(measuring, "apart", lambda function, *arguments: function(*arguments))
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"text": "send money", "label": "transfer_money"}) + "\n")
    code, out, _ = run("compare", "intent", "--data", data, "--json")
    (order,) = orders
    assert code == 0
    assert json.loads(out)["report"] == "reports/compare-intent/tradeoff.html"
    assert order.bodies == {"intent": [{"text": "send money", "model": "intent"}]}
    assert order.evidence("intent")["data"] == "rows.jsonl"
    assert order.evidence("intent")["variants"][0]["quality"]["value"] == 1.0


def test_compare_without_data_takes_the_samples(published, run):
    code, out, _ = run("compare", "highlights")
    assert code == 0
    assert out.startswith("highlights, 120 rows\nfull ")


# bench


def test_a_sample_of_labelled_rows_keeps_their_numbers(empty, tmp_path, monkeypatch):
    from export import compare
    from training import held_out
    from training.rows import LabelledText

    rows = [LabelledText(f"text {number}", ("a",)) for number in range(100)]
    told = {}

    def compared(model, settings, rows_of, labelled, summary_sentences, numbers):
        told.update(rows=rows_of("", [], False), numbers=numbers)
        return {}

    exam = held_out.Exam("made up", rows)
    monkeypatch.setattr(
        held_out, "held_out_for", lambda *_: held_out.HeldOut(decoding=[], test=exam)
    )
    monkeypatch.setattr(compare, "compare_variants", compared)
    measuring.judge_on(tmp_path, 4, "intent")
    assert [row.text for row in told["rows"]] == [f"text {number}" for number in told["numbers"]]
    assert len(set(told["numbers"])) == 4 and max(told["numbers"]) > 3


@pytest.mark.parametrize(
    "asked",
    [
        "--quick",
        "--models intent,reader --data FOLDER --rows 100",
        "--p99-ms 20 --min-rps 12.5 --price-per-hour 0.36",
        "--price-per-hour 0",
    ],
)
def test_a_record_has_the_command_as_it_was_given(asked):
    options = transfer.parser().parse_args(["bench", *asked.split()])
    assert measuring.bench_command(options) == f"transfer bench {asked}"


# choose


def test_choose_names_a_variant_and_writes_the_setting(empty, run, tmp_path):
    from load_tests.report.write import write
    from tests.load_tests.records import record

    report = write(record(), tmp_path / "reports").with_suffix(".json")
    env = tmp_path / "serving.env"
    ask = ("choose", "intent", "--p99-ms", "50", "--report", report, "--env-file", env)
    code, out, _ = run(*ask, "--max-loss", "1.5")
    assert code == 0
    assert out.startswith("intent/full-int8: 250 requests/s")
    assert env.read_text() == "TRANSFER_VARIANTS=intent/full-int8\n"
    assert serving.read_env(env) == {"TRANSFER_VARIANTS": "intent/full-int8"}
    code, out, _ = run(*ask, "--max-loss", "5", "--json")
    assert json.loads(out)["variant"] == "distilled-int8"
    refused(
        run(*ask, "--max-loss", "5", "--max-memory-mb", "100"),
        1,
        "None has at most 100 MB of memory",
    )
    assert env.read_text() == "TRANSFER_VARIANTS=intent/distilled-int8\n", "as it was"


def test_choose_before_any_report(empty, run, tmp_path):
    ask = ("choose", "intent", "--p99-ms", "50", "--max-loss", "1")
    refused(run(*ask, "--report", tmp_path / "none.json"), 2, "none.json", "transfer bench")


# Bad input


def test_an_unknown_recipe_key(empty, run):
    result = run("train", "sample-tickets", "epoch=3", f"out={empty / 'c'}")
    refused(result, 2, "unknown key 'epoch'", "did you mean 'epochs'", "training/recipe.py")
    assert not (empty / "c").exists()


def test_a_setting_that_is_no_setting(empty, run):
    refused(run("train", "sample-tickets", "out"), 2, "'out' is not key=value")


def test_an_unknown_recipe(empty, run):
    refused(run("train", "nope"), 2, "No recipe nope", "Presets: ", "sample-tickets")


def test_a_csv_without_the_label_column(empty, run):
    data = empty / "tickets.csv"
    data.write_text("text,department\nWhere is my parcel?,shipping\n")
    result = run("train", "sample-tickets", f"data={data}", f"out={empty / 'c'}")
    refused(result, 2, "tickets.csv has no column 'team'", "text, department", "columns=")
    assert not (empty / "c").exists()


def test_a_label_seen_only_in_test(empty, run):
    for split, teams in (("train", ["billing", "shipping"]), ("test", ["billing", "legal"])):
        rows = [{"text": f"{split} {i} {team}", "team": team} for team in teams for i in range(20)]
        (empty / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("train", "sample-tickets", f"data={empty}", f"out={empty / 'c'}")
    refused(result, 2, "Labels seen only in test: 'legal' (20 rows)", "Add training rows")
    assert not (empty / "c").exists()


def test_a_corrupted_adapter(empty, run, tiny_bert):
    write_adapters(empty / "adapters", tiny_bert, empty / "c")
    write_lock(empty / "lock.json", {"intent/full": "intent-full:0123456789abcdef"})
    before = (empty / "lock.json").read_bytes()
    flip_last_byte(empty / "adapters" / "tiny" / "distilled" / "delta.safetensors")
    refused(
        run("build", "tiny"),
        *(1, "tiny/distilled/delta.safetensors has sha256", "adapter.json says", "git"),
    )
    assert (empty / "lock.json").read_bytes() == before
    assert not list((empty / "work").rglob("model.onnx"))


def test_a_tampered_graph_is_never_run(published, run):
    flip_last_byte(stored(published, "intent/distilled-int8") / "model.onnx")
    refused(
        run("predict", "classify", stdin="send money\n"),
        *(1, "model.onnx has sha256", "its manifest says", "transfer build"),
    )


def test_a_tampered_manifest_is_never_run(published, run):
    manifest = stored(published, "intent/full") / "manifest.json"
    manifest.write_text(manifest.read_text().replace("transfer_money", "transfer_honey"))
    result = run("predict", "classify", "--variant", "full", stdin="send money\n")
    refused(result, 1, "manifest.json has digest", "its tag says")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["predict", "classify", "--model", "nope"], ["No model 'nope'", "emotion", "zeroshot"]),
        (["predict", "classify", "--variant", "huge"], ["no variant 'huge'", "distilled-int8"]),
        (["predict", "classify", "--model", "reader"], ["reader"]),
        (["compare", "nope"], ["'nope'", "There are emotion, highlights"]),
        (["build", "nope"], ["No adapter for nope", "There are zeroshot"]),
        (["predict", "qa"], ["without a question", "--question"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_not_there_is_refused_with_what_is(published, run, arguments, parts):
    refused(run(*arguments, stdin="some text\n"), 2, *parts)


def test_a_line_that_looks_like_json_and_is_not(published, run):
    refused(run("predict", "classify", stdin='{"text": \n'), 2, "is not JSON")


def test_a_body_with_an_unknown_field(published, run):
    refused(run("predict", "classify", stdin='{"text": "a", "colour": 1}\n'), 2, "colour")


@pytest.mark.parametrize("arguments", [["models"], ["predict", "classify"], ["compare", "intent"]])
def test_before_the_first_build(empty, run, arguments):
    result = run(*arguments, stdin="a\n")
    refused(result, 1, "lock.json does not exist", "Run `transfer build`")


# add-class


def test_a_class_is_added_and_published_or_refused(run, empty, tiny_bert):
    common = (f"base={tiny_bert}", "max_steps=3", "evaluations=1", "max_tokens=64")
    old, more = empty / "old", empty / "more"
    assert run("train", "sample-tickets", f"out={old}", *common)[0] == 0
    rows = [{"text": f"the lift on floor {i} is stuck", "label": "lifts"} for i in range(12)]
    data = empty / "new.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add = ("add-class", old, "--data", data, "--replay", "3", f"out={more}", "max_steps=3")
    refused(run(*add, "--max-loss", "-101"), 1, "distill lost", "at most -101 may be lost")
    assert not (empty / "lock.json").exists()
    code, out, err = run(*add, "--max-loss", "100", "--publish", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["new_labels"] == ["lifts"]
    assert set(report["variants"]) == {"tickets/full", "tickets/full-int8"}
    manifest = json.loads((stored(empty, "tickets/full") / "manifest.json").read_text())
    assert manifest["labels"][-1] == "lifts"


def test_a_class_of_nothing_is_refused(run, empty):
    result = run("add-class", "nope", "--data", "new.csv")
    refused(result, 2, "nope is neither a checkpoint nor a model with one")


def test_commands_in_records_name_no_folder_of_this_machine():
    told = shown(["data=/home/me/clinc/a.json", "teacher=/x/y/c1,c2", "seeds=1"])
    assert told == "data=clinc/a.json teacher=y/c1,c2 seeds=1"
    assert shown(["data=../data/clinc/a.json"]) == "data=clinc/a.json"


@pytest.mark.parametrize("verb", ["export", "pack"])
def test_a_folder_that_is_no_checkpoint(empty, run, verb):
    more = [empty / "adapters" / "a" / "full"] if verb == "pack" else []
    result = run(verb, empty / "nothing", *more)
    refused(result, 1, "nothing is not a checkpoint: checkpoint.json", "transfer train")


def test_a_rank_that_is_no_number(empty, run):
    result = run("pack", empty / "nothing", empty / "adapters" / "a" / "full", "rank=many")
    refused(result, 2, "rank is 'many'; expected a whole number")


@pytest.mark.parametrize("text", ["news", "news=", "=x", "news=x,y"])
def test_other_data_without_its_path(empty, run, text):
    result = run("pack", empty / "nothing", empty / "adapters" / "a" / "full", f"also={text}")
    refused(result, 2, f"also is '{text}'; expected RECIPE=PATH")


def test_errors_of_a_variant_that_is_not_there(published, run):
    result = run("errors", "intent", "variant=huge")
    refused(result, 2, "intent/huge is not published", "There are emotion/full")


def test_ways_of_loras_that_are_not_there(empty, run):
    result = run("results", "ways", f"checkpoint={empty}", f"loras={empty}")
    refused(result, 2, "holds no finished checkpoint", "strategy=lora")


@pytest.mark.parametrize("name", ["seeds", "most"])
def test_numbers_that_are_none(published, run, name):
    verb = {"seeds": ["seeds", "intent"], "most": ["errors", "intent"]}[name]
    refused(run(*verb, f"{name}=many"), 2, f"{name} is 'many'; expected a whole number")


def test_cards_of_a_model_that_is_not_there(empty, run):
    refused(run("cards", empty / "data", "nope"), 2, "No adapter for nope")


def test_a_wrong_setting_of_the_environment(empty, run, monkeypatch):
    monkeypatch.setenv("TRANSFER_THREADS", "many")
    refused(run("models"), 2, "TRANSFER_THREADS is 'many'; expected a whole number")


def test_a_lock_that_is_none(published, run):
    (published / "lock.json").write_text("{}")
    refused(run("models"), 1, "lock.json is not a lock file", "transfer build")


# From adapters to answers


def test_build_then_predict(empty, run, tiny_bert):
    write_adapters(empty / "adapters", tiny_bert, empty / "c")
    code, out, _ = run("build", "tiny", "--json")
    assert code == 0
    assert sorted(json.loads(out)["variants"]) == [
        *("tiny/distilled", "tiny/distilled-int8", "tiny/full", "tiny/full-int8")
    ]
    (answer,) = predicted(run, "classify", "--model", "tiny", stdin="Where is my parcel?\n")
    assert answer["variant"] == "distilled-int8"
    assert answer["results"][0]["label"] in ("account", "billing", "returns", "shipping")
