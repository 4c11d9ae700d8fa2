"""`/qa` with one document of 200,000 characters and one a tenth as long: time and memory.

In: the published reader. Out: how many times as long the longer one takes, and by how much the
server's memory rises meanwhile. Every span that comes back has to lie where it says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from load_tests.peers.figures import at_most, figure
from load_tests.peers.plan import Plan
from load_tests.peers.questions import KEY, check_offsets
from load_tests.peers.rounds import interleaved
from load_tests.peers.servers import planned, post
from load_tests.peers.variants import artifacts, variants
from load_tests.sampler import Sampler
from load_tests.server import Server
from load_tests.texts import long_context

Row = dict[str, Any]
Say = Callable[[str], None]

CHARACTERS, TIMES = 200_000, 10
REPEATS = 3
TOP_K = 5
# Outside of ASCII and of the 16-bit plane: bytes or UTF-16 units would give other offsets.
OPENING = "Der Käufer heißt Zoë 🙂. "
NEEDLE = " The spare key of the boiler house hangs behind the painted clock. "
QUESTION = "Where does the spare key of the boiler house hang?"
TIME_TARGET = at_most(12.0, "x the time of a tenth (best of 3)")
MEMORY_TARGET = at_most(150.0, "MB")


def document(characters: int) -> str:
    """Exactly so many characters of manuals, the answer at two thirds of it."""
    text = OPENING + long_context(characters)
    place = 2 * characters // 3
    return (text[:place] + NEEDLE + text[place:])[:characters]


def measure(plan: Plan, say: Say) -> Row:
    say(f"long context: {CHARACTERS:,} and {CHARACTERS // TIMES:,} characters, {REPEATS} times")
    published = variants([KEY])
    with planned([KEY]) as server:
        _ask(server, document(1000))
        idle_mb = server.pss_mb()
        with Sampler(server.pid, every_s=0.05) as memory:
            seen = interleaved(
                {
                    "long": lambda: _ask(server, document(CHARACTERS)),
                    "short": lambda: _ask(server, document(CHARACTERS // TIMES)),
                },
                REPEATS,
            )
    long, short = ([one["seconds"] for one in seen[name]] for name in ("long", "short"))
    rise_mb = memory.peak_mb - idle_mb
    found = seen["long"][0]
    how = f"best {answered(found)}; {found['tokens']:,} tokens in {found['windows']} windows"
    each = [one / min(short) for one in long]
    return {
        "figures": [
            figure(f"/qa, {CHARACTERS:,} characters", long, "s", value=min(long), how=how),
            figure(f"/qa, {CHARACTERS // TIMES:,} characters", short, "s", value=min(short)),
            figure(
                "/qa, ten times the context", each, "x", TIME_TARGET, value=min(long) / min(short)
            ),
            figure(
                f"/qa, {CHARACTERS:,} characters, rise of the peak PSS",
                [rise_mb],
                "MB",
                MEMORY_TARGET,
                how=f"from {idle_mb:,.0f} MB after a short question; sampled every 50 ms",
            ),
        ],
        "seen": seen,
        "artifacts": artifacts(published.values()),
    }


def _ask(server: Server, context: str) -> Row:
    model, variant = KEY.split("/")
    body = {"question": QUESTION, "context": context, "model": model, "variant": variant}
    began = time.perf_counter()
    answer = post(f"{server.url}/qa", {**body, "top_k": TOP_K, "threshold": 0.0})
    seconds = time.perf_counter() - began
    (result,) = answer["results"]
    for span in (result, *result.get("alternatives", ())):
        check_offsets(context, span)
    usage = answer["usage"]
    return {
        "seconds": seconds,
        "answer": result["answer"],
        "score": result["score"],
        "start": result["start"],
        "tokens": usage["tokens"],
        "windows": usage["windows"],
    }


def answered(found: Row) -> str:
    return f"answer {found['answer']!r} ({found['score']:.2f}) at {found['start']:,}"
