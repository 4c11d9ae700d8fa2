"""Questions a second of `transformers.pipeline`, in a process that keeps the model loaded.

Run by `load_tests.peers.questions` as a worker: {checkpoint, bodies, decoding, seconds} to a rate.
"""

from __future__ import annotations

from typing import Any

from load_tests.baseline import BATCHES, THREADS, Call, question_answering, throughput
from load_tests.worker import answer_lines


class _Measurer:
    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def __call__(self, request: dict[str, Any]) -> float:
        import torch

        torch.set_num_threads(THREADS)
        checkpoint = request["checkpoint"]
        if checkpoint not in self._calls:
            self._calls[checkpoint] = question_answering(checkpoint, request["decoding"])
        call, bodies = self._calls[checkpoint], request["bodies"]
        with torch.inference_mode():
            return max(throughput(call, bodies, request["seconds"] / 2, size) for size in BATCHES)


if __name__ == "__main__":
    answer_lines(_Measurer())
