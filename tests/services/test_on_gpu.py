"""On a real device: skipped where there is none, which is wherever it has been run so far.

pytest -m gpu
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from export import doctor_gpu
from services.binding import Bound, Plain
from services.generate import Generation, Job, results_of
from services.generation.model import DECODER_NAME, ENCODER_NAME, Seq2SeqModel
from services.generation.settings import GenerationSettings
from services.gpu import device_memory
from services.providers import CUDA, cuda_fault, limit_gpu_memory
from services.runtime import Runtime, open_session, sample_windows
from tests.services.conftest import Store
from tests.services.writers import TinyWriter

FAULT = cuda_fault()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(FAULT is not None, reason=FAULT[0] if FAULT else ""),
]


@pytest.fixture
def limited() -> Iterator[None]:
    limit_gpu_memory(1_000)
    yield
    limit_gpu_memory(0)


@pytest.mark.parametrize("key", ["intent/full", "reader/full", "highlights/full", "zeroshot/full"])
def test_the_device_gives_what_the_cpu_gives_bound_or_not(store: Store, key: str) -> None:
    on_cpu, on_gpu = (Runtime.load(store.folders[key], place) for place in ("cpu", "cuda"))
    assert on_gpu.provider == CUDA and isinstance(on_gpu._graphs, Bound)
    windows = sample_windows(on_cpu.task, 40, 3, 40)
    unbound = partial(on_gpu._run, Plain(on_gpu._graphs.session))
    for expected, found, plain in zip(
        on_cpu.call(windows), on_gpu.call(windows), unbound(windows), strict=True
    ):
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-4)
            np.testing.assert_array_equal(found[name], plain[name])


@pytest.mark.parametrize("family", ["bart", "t5", "pegasus"])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_cache_on_the_device_writes_what_the_cpu_writes(
    writers: dict[str, TinyWriter], family: str, num_beams: int
) -> None:
    writer = writers[family]
    encoder, decoder = (
        open_session(writer.graphs / name, CUDA, 1) for name in (ENCODER_NAME, DECODER_NAME)
    )
    model = Seq2SeqModel(encoder, decoder, writer.model._pad_id)
    settings = GenerationSettings(
        writer.start, writer.likes[:1], max_new_tokens=8, num_beams=num_beams
    )
    jobs = [Job(source, settings) for source in ([5, 6, 7], list(range(10, 30)), [8, 9])]
    expected = results_of(Generation(writer.model, jobs))
    assert results_of(Generation(model, jobs)) == expected


@pytest.mark.usefixtures("limited")
def test_a_limit_is_taken(store: Store) -> None:
    runtime = Runtime.load(store.folders["intent/full"], "cuda")
    options = runtime._graphs.session.get_provider_options()[CUDA]
    assert options["gpu_mem_limit"] == "1000000000"
    assert options["use_tf32"] == "0"


def test_the_driver_tells_memory_and_the_doctor_runs_a_graph() -> None:
    used, total = device_memory()
    assert 0 < used < total
    assert doctor_gpu.cuda("cuda")[1] is True
    assert doctor_gpu.device()[1] is True
