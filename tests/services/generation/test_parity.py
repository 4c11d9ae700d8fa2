"""Token for token what `transformers.generate` writes, whatever is asked for."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from services.generate import generate
from tests.services.writers import CASES, TinyWriter

FAMILIES = {"bart": 200, "t5": 200, "pegasus": 100, "grown": 100}


@pytest.mark.parametrize("family", FAMILIES)
def test_random_jobs_are_written_as_transformers_writes_them(
    family: str, writers: dict[str, TinyWriter]
) -> None:
    writer, rng = writers[family], random.Random(2026)
    different = []
    ended: Counter[str] = Counter()
    for number in range(CASES or FAMILIES[family]):
        job = writer.random_job(rng)
        expected = writer.expected(job)
        ended["early" if len(expected) < job.settings.max_new_tokens else "full"] += 1
        if generate(writer.model, [job]) != [expected]:
            different.append((number, job.settings))
    assert different == []
    assert min(ended.values()) > 0.1 * sum(ended.values()), ended  # both ways were tried
