"""Text to a summary in the model's own words.

Graphs: an encoder and a decoder (`services.generation.model`) -> sequences: (written,) token ids
for each window.

A text longer than a window is read in as few windows as hold it, of about equal length and ending
where sentences do; each is summarized alone, and the summaries are joined in the order of the
text. So the cost grows linearly, no part of a text is left out, and nothing is a summary of
summaries, in which a model's slips would be told again as facts. Even windows matter: a last one of
a few words would make the model invent the rest.

Where the answer may have only so many sentences or words, those of several windows are chosen among
all, by how central each is to the joined summaries; a single window's are told from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.centrality import relative_centrality
from services.errors import UsageError
from services.generation.settings import GenerationSettings
from services.sentences import Bounds, even_ranges, own_tokens, split_sentences
from services.tasks.base import Encoded, Outputs, Result
from services.tasks.selection import chosen_sentences
from services.windows import LongText, TextTokenizer, Window, checked_tokens, limit

MOST_NEW_TOKENS = 512


@dataclass(frozen=True)
class GenerateSummarySettings(GenerationSettings):
    """max_tokens: of a window, special tokens included
    most_new_tokens: what a request may ask of one window at most
    """

    max_tokens: int = 512
    most_new_tokens: int = MOST_NEW_TOKENS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_new_tokens > self.most_new_tokens:
            raise UsageError(
                f"max_new_tokens is {self.max_new_tokens}; this model writes at most "
                f"{self.most_new_tokens} for a window.",
                "Ask for less; a long text is summarized window by window.",
            )


@dataclass(frozen=True, slots=True)
class Source(Window):
    """A window that says how it is to be summarized.

    usual: the model's own settings, with which its plan is measured
    """

    settings: GenerationSettings = field(default_factory=GenerationSettings)
    usual: GenerationSettings = field(default_factory=GenerationSettings)

    @property
    def weight(self) -> float:
        """At least 1: its keys and values over those of a window with the usual settings.

        As if every hypothesis had its own copy of the source, which some graphs need.
        """
        return max(1.0, self._kept(self.settings) / self._kept(self.usual))

    def _kept(self, settings: GenerationSettings) -> int:
        return settings.num_beams * (len(self) + settings.max_new_tokens)


class GenerateSummary:
    """Encode and decode for one encoder-decoder."""

    def __init__(self, tokenizer: TextTokenizer, settings: GenerateSummarySettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings

    def encode(self, text: str, long_text: LongText = "window", **changes: Any) -> Encoded:
        """Windows of whole sentences; `changes` replace settings for this text alone.

        Raises UsageError for settings that no search can use.
        """
        settings = self.settings.replace(**changes)
        tokens = checked_tokens(self.tokenizer, text)
        room = self.tokenizer.room(settings.max_tokens)
        tokens, truncated = limit(tokens, room, long_text, "text")
        pieces = [(0, len(tokens.ids))]
        if len(tokens.ids) > room:
            _, owner = own_tokens(tokens, split_sentences(text))
            pieces = even_ranges(owner, room)
        windows = [
            _source(window, settings, self.settings)
            for window in self.tokenizer.over(tokens, pieces)
        ]
        return Encoded([*windows], [tokens], [text], truncated)

    def decode(
        self,
        encoded: Encoded,
        outputs: Sequence[Outputs],
        max_sentences: int | None = None,
        max_words: int | None = None,
    ) -> Result:
        """The summaries of all windows, joined; of its sentences those that a limit leaves."""
        written = [self.tokenizer.decode(output["sequences"].tolist()) for output in outputs]
        summary = shortened(written, max_sentences, max_words)
        # No sentence of the text was chosen: the summary has its own.
        return {
            "summary": summary,
            "sentences": [],
            "compression": len(summary) / len(encoded.texts[0]),
        }


def _source(window: Window, settings: GenerationSettings, usual: GenerationSettings) -> Source:
    """Nothing is made to write more than it reads."""
    if settings.min_new_tokens > len(window):
        settings = settings.replace(min_new_tokens=len(window))
    return Source(
        window.input_ids,
        window.token_type_ids,
        window.content,
        window.first,
        window.document,
        settings,
        usual,
    )


def joined(written: Sequence[str]) -> str:
    """The texts of all windows with a space between them."""
    return " ".join(stripped for text in written if (stripped := text.strip()))


def shortened(written: Sequence[str], max_sentences: int | None, max_words: int | None) -> str:
    """Summaries of windows as one: whole where it fits, else the sentences most central to it.

    Windows often begin alike ("They talk about ..."), so only what repeats as a whole is left out.
    """
    texts = [stripped for text in written if (stripped := text.strip())]
    whole = joined(texts)
    if len(texts) < 2:
        return first_sentences(whole, max_sentences, max_words)
    sentences = _sentences(texts)
    if (max_sentences is None or len(sentences) <= max_sentences) and (
        max_words is None or len(whole.split()) <= max_words
    ):
        return whole
    scores = relative_centrality([whole[slice(*bounds)] for bounds in sentences])
    chosen = chosen_sentences(whole, sentences, scores, max_sentences, max_words)
    return joined([whole[slice(*bounds)] for bounds, _ in chosen])


def _sentences(texts: Sequence[str]) -> list[Bounds]:
    """Bounds in the joined texts; none goes over the end of a text."""
    found: list[Bounds] = []
    begin = 0
    for text in texts:
        found += [(begin + start, begin + end) for start, end in split_sentences(text)]
        begin += len(text) + 1
    return found


def first_sentences(text: str, max_sentences: int | None, max_words: int | None) -> str:
    """The sentences from the beginning that fit; of one too long its first words."""
    bounds: list[Bounds] = split_sentences(text)[:max_sentences]
    if not bounds:
        return text
    if max_words is None:
        return text[: bounds[-1][1]]
    kept = [end for _, end in bounds if len(text[:end].split()) <= max_words]
    return text[: kept[-1]] if kept else " ".join(text.split()[:max_words])
