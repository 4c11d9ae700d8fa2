"""FastAPI + ONNX Runtime as it is ordinarily written: a `def` endpoint in the thread pool.

    PEER_FOLDER=... PEER_INTRA_OP=1 python -m load_tests.peer_servers.fastapi_ort PORT

One worker, uvloop and httptools, no access log.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from load_tests.peer_servers.classifier import Classifier


class Request(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: float


def create_app(classifier: Classifier) -> FastAPI:
    app = FastAPI()

    @app.post("/classify")
    def classify(request: Request) -> Answer:
        ((label, score),) = classifier.classify([request.text])
        return Answer(label=label, score=score)

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def main() -> None:
    uvicorn.run(
        create_app(Classifier.from_environment()),
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
