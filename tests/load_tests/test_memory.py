from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from load_tests.memory import MB, pss_bytes, tree_pids, tree_pss_mb

TAKE_MB = 60
TAKER = f"""
import sys
block = bytearray({TAKE_MB} * 10**6)
block[::4096] = b"x" * len(block[::4096])
print("taken", flush=True)
sys.stdin.read()
"""


def test_the_pss_of_this_process_is_at_most_its_rss() -> None:
    rss = psutil.Process().memory_info().rss
    assert 0.2 * rss < pss_bytes(os.getpid()) <= 1.05 * rss


def test_a_process_that_is_gone_has_no_pss() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(psutil.NoSuchProcess):
        pss_bytes(process.pid)
    assert tree_pss_mb(process.pid) == 0.0


def test_children_count() -> None:
    pipe = subprocess.PIPE
    before = tree_pss_mb(os.getpid())
    with subprocess.Popen([sys.executable, "-c", TAKER], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = tree_pss_mb(os.getpid())
        assert child.pid in tree_pids(os.getpid())
        child.communicate()
    assert during - before > 0.8 * TAKE_MB
    assert tree_pss_mb(os.getpid()) < during - 0.8 * TAKE_MB
    assert tree_pids(child.pid) == []


def test_megabytes_are_decimal() -> None:
    assert MB == 1e6
