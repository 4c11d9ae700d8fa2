"""Requests that are none: the same for the same seed, of every family, some with a hidden one."""

from __future__ import annotations

from itertools import islice

from load_tests.soak.cases import FAMILIES, HIDDEN, cases


def test_a_seed_says_what_is_sent() -> None:
    first, again, other = (list(islice(cases(seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_family_has_its_share_and_no_case_is_empty() -> None:
    found = list(islice(cases(3), 50 * len(FAMILIES)))
    assert {case.kind for case in found} == set(FAMILIES)
    assert all(case.data for case in found)
    assert len({case.data for case in found}) > 300


def test_conflicts_hide_a_request() -> None:
    conflicts = [case for case in islice(cases(3), 500) if case.kind == "conflict"]
    assert all(HIDDEN in case.data for case in conflicts)
    both = [
        case
        for case in conflicts
        if b"Content-Length" in case.data and b"Transfer-Encoding" in case.data
    ]
    assert both
