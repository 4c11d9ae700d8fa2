"""What goes over the wire between the client and the service, without any I/O.

In: the arguments of a call, or the bytes of an answer. Out: a JSON body, or a typed answer; an
answer that is none becomes a ServiceError. `services.client` does the talking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from services.answers import (
    ClassifyResult,
    CompareAnswer,
    ErrorAnswer,
    Fault,
    ModelEntry,
    ModelsAnswer,
    QaResult,
    SummarizeResult,
    SummarySentence,
    Usage,
)
from services.errors import TransferError

UNREACHABLE = "unreachable"

LongText = Literal["window", "truncate", "error"]  # that of services.windows, without its imports

Result = TypeVar("Result")
_TIMING = re.compile(r"(\w+);dur=([\d.]+)")
_encode = msgspec.json.Encoder().encode


class ServiceError(TransferError):
    """The service's refusal: `code`, `message`, `hint`, `status` and `request_id` as it sent them.

    status: that of HTTP; 0 when the service was not reached or a stream broke off
    retry_after_s: what the service asked to wait, else None
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str,
        status: int,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint, code=code)
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """The answer to a task: one result for every item, in order.

    An item that could not be answered is a Fault among its neighbours' results.
    timing_ms: `queue`, `tokenize`, `infer`, `decode` and `total` on the server
    """

    model: str
    variant: str
    results: list[Result | Fault]
    usage: Usage
    request_id: str
    timing_ms: dict[str, float]

    @property
    def first(self) -> Result:
        """The result of the first item; raises ServiceError if that is a fault."""
        result = self.results[0]
        if isinstance(result, Fault):
            raise ServiceError(
                result.message,
                result.hint,
                code=result.code,
                status=422,
                request_id=self.request_id,
            )
        return result


ClassifyAnswer = Answer[ClassifyResult]
QaAnswer = Answer[QaResult]
SummarizeAnswer = Answer[SummarizeResult]
StreamEvent = str | SummarySentence | SummarizeAnswer


class Options(TypedDict, total=False):
    """What every task takes besides its texts; the rest as in docs/api.md."""

    model: str | None
    variant: str | None
    long_text: LongText | None


class ClassifyOptions(Options, total=False):
    """Those of /classify."""

    top_k: int | None
    threshold: float | None
    labels: Sequence[str] | None


class QaOptions(Options, total=False):
    """Those of /qa."""

    top_k: int | None
    threshold: float | None
    paired: bool | None


class SummarizeOptions(Options, total=False):
    """Those of /summarize."""

    max_sentences: int | None
    max_words: int | None
    generation: Mapping[str, Any] | None


class _Envelope(msgspec.Struct):
    model: str
    variant: str
    results: list[msgspec.Raw]
    usage: Usage


class _Piece(msgspec.Struct):
    text: str


class _MaybeFault(msgspec.Struct):
    error: Fault | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Response:
    """One good HTTP answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def body_of(fields: Mapping[str, Any]) -> bytes:
    """A request body of the fields that are given."""
    return _encode({name: value for name, value in fields.items() if value is not None})


def task_answer(response: Response, kind: type[Result]) -> Answer[Result]:
    """The answer of a task route; raises ServiceError when it is none."""
    return _answer(response.body, kind, response.headers)


def compare_answer(response: Response) -> CompareAnswer:
    """The answer of /compare; raises ServiceError."""
    return _decoded(response.body, CompareAnswer)


def model_entries(response: Response) -> list[ModelEntry]:
    """The rows of /models; raises ServiceError."""
    return _decoded(response.body, ModelsAnswer).models


def error_of(response: Response) -> ServiceError:
    """What a response with a status of 400 or more says."""
    try:
        fault = msgspec.json.decode(response.body, type=ErrorAnswer).error
    except msgspec.MsgspecError:
        # Something between here and the service answered.
        return ServiceError(
            f"Status {response.status} with a body that is not the service's.",
            "Is this the address of the service?",
            code="unexpected_answer",
            status=response.status,
            request_id=response.headers.get("x-request-id", ""),
            retry_after_s=retry_after_s(response.headers),
        )
    return ServiceError(
        fault.message,
        fault.hint,
        code=fault.code,
        status=response.status,
        request_id="" if fault.request_id is UNSET else fault.request_id,
        retry_after_s=retry_after_s(response.headers),
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, which may be a date (RFC 9110, 10.2.3); None without one.

    A date counts from the answer's own, so that the clocks need not agree.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = _moment(text)
    if until is None:
        return None
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _moment(text: str) -> datetime | None:
    """The moment of an HTTP date; None where it is none."""
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class EventReader:
    """Lines of a stream of server-sent events in, typed events out."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._name = ""
        self._data: list[str] = []
        self._ended = False

    def push(self, line: str) -> Iterator[StreamEvent]:
        """What a line completes, if anything; raises ServiceError for an event `error`."""
        name, _, value = line.partition(":")
        if name == "event":
            self._name = value.strip()
        elif name == "data":
            self._data.append(value.removeprefix(" "))
        elif not line and self._data:
            content, self._data = "\n".join(self._data).encode(), []
            yield from self._event(self._name, content)

    def finish(self) -> None:
        """Raise ServiceError if the stream broke off before its whole answer."""
        if not self._ended:
            raise ServiceError(
                "The stream ended before the whole answer.",
                "Ask again.",
                code="stream_broken",
                status=0,
                request_id=self._headers.get("x-request-id", ""),
            )

    def _event(self, name: str, content: bytes) -> Iterator[StreamEvent]:
        if name == "token":
            yield _decoded(content, _Piece).text
        elif name == "sentence":
            yield _decoded(content, SummarySentence)
        elif name == "result":
            self._ended = True
            yield _answer(content, SummarizeResult, self._headers)
        elif name == "error":
            raise error_of(Response(0, self._headers, content))


def _answer(content: bytes, kind: type[Result], headers: Mapping[str, str]) -> Answer[Result]:
    envelope = _decoded(content, _Envelope)
    timing = _TIMING.findall(headers.get("server-timing", ""))
    return Answer(
        envelope.model,
        envelope.variant,
        [_result(bytes(one), kind) for one in envelope.results],
        envelope.usage,
        headers.get("x-request-id", ""),
        {stage: float(ms) for stage, ms in timing},
    )


def _result(content: bytes, kind: type[Result]) -> Result | Fault:
    fault = _decoded(content, _MaybeFault).error
    return _decoded(content, kind) if fault is UNSET else fault


def _decoded(content: bytes, kind: type[Result]) -> Result:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise ServiceError(
            f"An answer that this client does not understand: {error}.",
            "Use the client of the service's own version.",
            code="unexpected_answer",
            status=200,
        ) from error
