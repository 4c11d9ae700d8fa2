"""A scene is only good when nothing was lost and every pod ended as it should."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from load_tests.rehearsal import __main__ as rehearsal
from load_tests.rehearsal.judge import faults, least_s

GOOD = {
    "ended": 2,
    "exit_codes": ["0"],
    "killed_after_grace": 0,
    "liveness_failures": 0,
    "restarts": 0,
}


def rolling(**changes: Any) -> dict[str, Any]:
    return {"updates": 2, "sent": 800, "lost": 0, "pods": GOOD, **changes}


def test_what_is_as_it_shall_be_has_no_fault() -> None:
    assert faults("rolling", rolling()) == []
    assert faults("rolling", rolling(updates=20, sent=10_000)) == []
    assert faults("kills", {"kills": 3, "restarts": 3, "sent": 90, "lost": 0}) == []
    sides = {"transfer-stable": {**GOOD, "exit_codes": []}, "transfer-canary": GOOD}
    assert faults("canary", {"sent": 90, "lost": 0, "pods": sides}) == []
    assert faults("memory", {"dev/transfer": {"sent": 90, "lost": 0}}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"killed_after_grace": 1}, "1 pods were killed after their grace period; expected none"),
        ({"liveness_failures": 2}, "2 liveness probes failed; expected none"),
        ({"restarts": 1}, "1 containers ended by themselves; expected none"),
        ({"exit_codes": ["-9", "0"]}, "pods ended with -9; expected 0"),
    ],
)
def test_pods_that_ended_otherwise_are_told_in_every_scene(
    change: dict[str, Any], told: str
) -> None:
    pods = {**GOOD, **change}
    assert faults("rolling", rolling(pods=pods)) == [f"pods: {told}"]
    sides = {"transfer-stable": GOOD, "transfer-canary": pods}
    record = {"sent": 90, "lost": 0, "pods": sides}
    assert faults("canary", record) == [f"transfer-canary: {told}"]


def test_lost_requests_are_told_with_how_many_were_sent() -> None:
    lost = "3 of 800 requests were lost; expected none"
    assert faults("rolling", rolling(lost=3)) == [lost]
    assert faults("memory", {"dev/transfer": rolling(lost=3)}) == [f"dev/transfer: {lost}"]


def test_a_full_rolling_update_under_few_requests_shows_nothing() -> None:
    (told,) = faults("rolling", rolling(updates=20, sent=9_999))
    assert told.startswith("9999 requests were sent in 20 updates; expected at least 10000")


def test_a_full_one_goes_on_until_it_was_asked_often_enough() -> None:
    assert least_s(20, rate=40.0) * 40.0 > 10_000
    assert least_s(2, rate=40.0) == 0.0


def test_a_kill_that_restarts_nothing_is_told() -> None:
    record = {"kills": 3, "restarts": 2, "sent": 90, "lost": 0}
    assert faults("kills", record) == ["2 restarts; expected 3, one for each kill"]


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 1)])
def test_the_exit_code_says_it_and_the_words_say_why(
    lost: int,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(rehearsal, "run", lambda scene, options: rolling(lost=lost))
    monkeypatch.setattr(rehearsal, "keep", lambda *_: None)
    assert rehearsal.rehearse(argparse.Namespace(scenes=["rolling"], out=tmp_path)) == code
    words = capsys.readouterr().err
    assert ("FAILED: rolling: 1 of 800 requests were lost" in words) == bool(code)
