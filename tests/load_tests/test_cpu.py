"""Whose processor time it was."""

from __future__ import annotations

import os
import subprocess
import sys

from load_tests.cpu import CpuClock, tree_cpu_s, wait_idle

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_programs_that_ended_are_counted_as_children() -> None:
    with CpuClock(os.getpid()) as clock:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    assert clock.children_s >= 0.25


def test_a_living_tree_is_counted_with_its_descendants() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}]); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{BURN}\n{code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        with CpuClock(process.pid) as clock:
            while tree_cpu_s(process.pid) < 0.25 and process.poll() is None:
                pass
        assert clock.tree_s >= 0.2
    finally:
        process.communicate(b"\n")


def test_a_process_that_is_gone_used_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert tree_cpu_s(process.pid) == 0.0


def test_waiting_ends_when_the_machine_is_as_idle_as_asked() -> None:
    every_core = os.cpu_count() or 1
    assert wait_idle(most=every_core + 1.0, timeout_s=5.0, every_s=0.05)


def test_waiting_is_given_up_on_a_machine_that_is_never_so_idle() -> None:
    assert not wait_idle(most=-1.0, timeout_s=0.2, every_s=0.05)
