"""A worker for the tests: remembers what it was told, and prints what is no answer."""

from __future__ import annotations

from typing import Any

from load_tests.worker import answer_lines

said: list[str] = []


def answer(request: dict[str, Any]) -> dict[str, list[str]]:
    print("a library talks")
    said.append(request["say"])
    return {"said": said}


if __name__ == "__main__":
    answer_lines(answer)
