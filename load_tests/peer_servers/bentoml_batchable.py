"""BentoML with adaptive batching, as its documentation shows it.

    PEER_FOLDER=... PEER_INTRA_OP=1 bentoml serve load_tests.peer_servers.bentoml_batchable:Batching

As it comes, BentoML logs, counts and traces every request. `Quiet` is the same with these three
off, so that batching itself can be told from what is around it.
"""

from __future__ import annotations

from typing import Any

import bentoml


class _Batching:
    def __init__(self) -> None:
        from load_tests.peer_servers.classifier import Classifier

        self.classifier = Classifier.from_environment()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        return [
            {"label": label, "score": score} for label, score in self.classifier.classify(texts)
        ]


@bentoml.service
class Batching(_Batching):
    """As it comes."""


@bentoml.service(
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": [".*"]},
)
class Quiet(_Batching):
    """Without access log, metrics and tracing."""
