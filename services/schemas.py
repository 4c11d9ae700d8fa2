"""The requests of the REST contract as types, with their limits.

Bytes of JSON in (`decode_request`), a checked request out; every fault becomes `MalformedError`
(400) or `InvalidError` (422). The OpenAPI document is generated from the same types; `EXAMPLES`
holds several realistic bodies for every route.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from services.errors import TransferError
from services.examples import EXAMPLES as EXAMPLES
from services.generation.settings import LEAST_PENALTY, MOST_PENALTY

MAX_ITEMS = 1024
MAX_LABELS = 256
DEPTH = 4  # of the deepest field of a request
MILLISECONDS = "[1-9][0-9]{0,7}"  # X-Request-Timeout-Ms: up to a day

LongText = Literal["window", "truncate", "error"]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Texts = str | Annotated[list[str], Meta(min_length=1, max_length=MAX_ITEMS)]
Threshold = Annotated[float, Meta(ge=0, le=1)]
Handling = Annotated[
    LongText, Meta(description="Text longer than one window of the model: read all, cut, refuse.")
]


class MalformedError(TransferError):
    """The body is not JSON."""

    code = "malformed_json"
    status = 400


class InvalidError(TransferError):
    """The body is JSON, but not what the route takes."""

    code = "invalid_request"
    status = 422


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A body that knows its own rules beyond the types of its fields."""

    def check(self) -> None:
        """Raise InvalidError for fields that do not go together."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Lets BentoML's API methods, which know pydantic only, take these types as they are."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else convert_request(value, cls),
            serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """What BentoML's own schema.json says of the type."""
        _, components = msgspec.json.schema_components([cls], ref_template="#/$defs/{name}")
        own: dict[str, Any] = _inlined(components[cls.__name__], components)
        return own


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    """A schema without references: pydantic would look for them among its own."""
    if isinstance(schema, list):
        return [_inlined(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"].rpartition("/")[2]], components)
    return {name: _inlined(one, components) for name, one in schema.items()}


class ClassifyRequest(Request, frozen=True, kw_only=True):
    """Label one text or several. With `labels`, the model `zeroshot` chooses among those names."""

    text: Annotated[Texts, Meta(description="One text, or a list of them.")]
    model: Name | UnsetType = UNSET
    variant: Name | None = None
    top_k: Annotated[int, Meta(ge=1, le=1000, description="How many scores to return.")] = 1
    threshold: Annotated[
        Threshold | None, Meta(description="Abstain below it; 0 always answers.")
    ] = None
    labels: (
        Annotated[list[Name], Meta(min_length=1, max_length=MAX_LABELS, description="Any names.")]
        | None
    ) = None
    long_text: Handling = "window"

    def check(self) -> None:
        if self.labels is None:
            return
        if len(set(self.labels)) < len(self.labels):
            raise InvalidError("labels holds a name twice.", "Send each label once.")
        if self.model not in (UNSET, "zeroshot"):
            raise InvalidError(
                f"labels is answered by the model zeroshot, not by {self.model}.",
                "Leave out model, or labels.",
            )


class QaRequest(Request, frozen=True, kw_only=True):
    """Answer one question or several from one document, or from several searched together."""

    question: Annotated[Texts, Meta(description="One question, or a list of them.")]
    context: Annotated[
        Texts, Meta(description="One document, or a list of documents searched together.")
    ]
    model: Name | UnsetType = UNSET
    variant: Name | None = None
    top_k: Annotated[int, Meta(ge=1, le=100, description="The answer and alternatives.")] = 1
    threshold: Annotated[
        Threshold | None, Meta(description="No answer below it; 0 always answers.")
    ] = None
    paired: Annotated[
        bool, Meta(description="Question i is asked of context i; both are lists of one length.")
    ] = False
    long_text: Handling = "window"

    def check(self) -> None:
        if not self.paired:
            return
        if isinstance(self.question, str) or isinstance(self.context, str):
            raise InvalidError(
                "paired takes a list for question and a list for context.",
                "Send two lists of the same length, or leave out paired.",
            )
        if len(self.question) != len(self.context):
            raise InvalidError(
                f"paired has {len(self.question)} questions and {len(self.context)} contexts.",
                "Send two lists of the same length.",
                code="not_paired",
            )


class GenerationOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How a model writes, in `transformers`' words; what is left out is as the model has it."""

    num_beams: Annotated[int, Meta(ge=1, le=16)] | None = None
    max_new_tokens: Annotated[int, Meta(ge=1, le=512)] | None = None
    min_new_tokens: Annotated[int, Meta(ge=0, le=512)] | None = None
    length_penalty: Annotated[float, Meta(ge=LEAST_PENALTY, le=MOST_PENALTY)] | None = None
    no_repeat_ngram_size: Annotated[int, Meta(ge=0, le=100)] | None = None
    early_stopping: bool | Literal["never"] | None = None


class SummarizeRequest(Request, frozen=True, kw_only=True):
    """Summarize one text or several: by their most telling sentences, or in the model's words."""

    text: Annotated[Texts, Meta(description="One text, or a list of them.")]
    model: Name | UnsetType = UNSET
    variant: Name | None = None
    max_sentences: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(description="At most so many; of models that choose sentences 3, unless max_words."),
    ] = None
    max_words: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None, Meta(description="At most so many words.")
    ] = None
    stream: Annotated[
        bool, Meta(description="Server-sent events: sentences, or tokens as they are written.")
    ] = False
    generation: Annotated[
        GenerationOptions | None, Meta(description="Only for models that write in their own words.")
    ] = None
    long_text: Handling = "window"

    def check(self) -> None:
        if self.stream and not isinstance(self.text, str):
            raise InvalidError("stream takes one text, not a list.", "Send a string for text.")


TaskRequest = ClassifyRequest | QaRequest | SummarizeRequest
TASKS: dict[str, type[TaskRequest]] = {
    "classify": ClassifyRequest,
    "qa": QaRequest,
    "summarize": SummarizeRequest,
}


class CompareRequest(Request, frozen=True, kw_only=True):
    """Run one input through the variants of its model."""

    task: Literal["classify", "qa", "summarize"]
    input: Annotated[dict[str, Any], Meta(description="A request body of that task.")]
    variants: Annotated[
        Annotated[list[Name], Meta(min_length=1, max_length=16)] | None,
        Meta(description="The first is what the others are compared with; default: all loaded."),
    ] = None

    def check(self) -> None:
        if self.variants and len(set(self.variants)) < len(self.variants):
            raise InvalidError("variants holds a name twice.", "Send each variant once.")
        self.request()

    def request(self) -> TaskRequest:
        """The input as a request of its task; raises InvalidError naming the field in it."""
        request = convert_request(self.input, TASKS[self.task], "input")
        if request.variant is not None:
            raise InvalidError(
                "input.variant has no place in a comparison.", "List variants in `variants`."
            )
        if isinstance(request, SummarizeRequest) and request.stream:
            raise InvalidError("input.stream has no place in a comparison.", "Leave it out.")
        return request


class HfClassifyParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Hugging Face's own names, as far as the model obeys them."""

    top_k: Annotated[int, Meta(ge=1, le=1000)] | None = None
    function_to_apply: Literal["softmax"] | None = None


class HfClassifyRequest(Request, frozen=True, kw_only=True):
    """Hugging Face's payload for text classification."""

    inputs: Texts
    parameters: HfClassifyParameters = HfClassifyParameters()


class HfQaInput(Struct, frozen=True, forbid_unknown_fields=True):
    """One question and its context."""

    question: str
    context: str


class HfQaParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Hugging Face's own names, as far as the model obeys them."""

    top_k: Annotated[int, Meta(ge=1, le=100)] | None = None
    handle_impossible_answer: bool | None = None


class HfQaRequest(Request, frozen=True, kw_only=True):
    """Hugging Face's payload for question answering."""

    inputs: HfQaInput
    parameters: HfQaParameters = HfQaParameters()


class HfSummarizeParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Hugging Face's own names; spaces are always clean."""

    generate_parameters: GenerationOptions | None = None
    clean_up_tokenization_spaces: bool | None = None
    truncation: Literal["do_not_truncate", "longest_first", "only_first"] | None = None


class HfSummarizeRequest(Request, frozen=True, kw_only=True):
    """Hugging Face's payload for summarization."""

    inputs: Texts
    parameters: HfSummarizeParameters = HfSummarizeParameters()


ROUTES: dict[str, type[Request]] = {
    "/classify": ClassifyRequest,
    "/qa": QaRequest,
    "/summarize": SummarizeRequest,
    "/compare": CompareRequest,
    "/hf/text-classification": HfClassifyRequest,
    "/hf/question-answering": HfQaRequest,
    "/hf/summarization": HfSummarizeRequest,
}

RequestType = TypeVar("RequestType", bound=Request)
_DECODERS: dict[type[Request], Any] = {kind: msgspec.json.Decoder(kind) for kind in ROUTES.values()}


def _field_names(kind: Any) -> set[str]:
    """The names of all fields of a request, those of structs in it too."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return _field_names(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return set().union(*(_field_names(one) for one in kind.types))
    if not isinstance(kind, msgspec.inspect.StructType):
        return set()
    inner = [_field_names(one.type) for one in kind.fields]
    return {one.encode_name for one in kind.fields}.union(*inner)


def _keys(names: set[str]) -> re.Pattern[bytes]:
    """Finds these names where a body has them as keys; no text holds one: its quotes are escaped.

    One search for all: counting each of them took 60 times as long on 3 kB of text.
    """
    return re.compile(f'"(?:{"|".join(sorted(names))})"(?=[ \\t\\r\\n]*:)'.encode())


_TASK_FIELDS = set().union(*(_field_names(msgspec.inspect.type_info(k)) for k in TASKS.values()))
_KEYS: dict[type[Request], re.Pattern[bytes]] = {
    kind: _keys(
        _field_names(msgspec.inspect.type_info(kind))
        | (_TASK_FIELDS if kind is CompareRequest else set())
    )
    for kind in ROUTES.values()
}


def decode_request(body: bytes, kind: type[RequestType]) -> RequestType:
    """JSON bytes to a checked request; raises MalformedError or InvalidError."""
    try:
        request: RequestType = _DECODERS[kind].decode(body)
    except msgspec.ValidationError as error:
        request = _with_whole_numbers(body, kind, error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return convert_request(_decode_surrogates(body, error), kind)
    keys = _KEYS[kind].findall(body)
    if b"\\u" in body or len(keys) > len(set(keys)):
        _refuse_twice(body)  # msgspec takes the last of them
    request.check()
    return request


def _refuse_twice(body: bytes) -> None:
    """Raise MalformedError for a field that is there twice, or for a body that is too deep.

    `json` reads a few levels less than msgspec, which has read the body.
    """
    try:
        json.loads(body, object_pairs_hook=_without_twice)
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            f"The body cannot be read: {error}.", "Send one JSON object, not nested so deeply."
        ) from error


def _with_whole_numbers(
    body: bytes, kind: type[RequestType], error: msgspec.ValidationError
) -> RequestType:
    """The request, if the fault is only that whole numbers are written like 3.0: JSON knows one
    type of number, and JSON Schema takes 3.0 for an integer.
    """
    try:
        return msgspec.convert(_whole(msgspec.json.decode(body)), kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _refuse(error, kind)


def _whole(value: Any, depth: int = DEPTH) -> Any:
    """The value with 3 in place of 3.0, as deep as fields of requests are."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not depth or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [_whole(one, depth - 1) for one in value]
    return {name: _whole(one, depth - 1) for name, one in value.items()}


def _without_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(
            f"The body has {_shortened(twice)} twice in one object.", "Send each field once."
        )
    return found


def _shortened(name: str) -> str:
    return repr(name if len(name) <= 50 else f"{name[:50]}...")


def convert_request(value: Any, kind: type[RequestType], field: str = "") -> RequestType:
    """A decoded JSON value to a checked request; raises InvalidError."""
    try:
        request = msgspec.convert(_whole(value), kind)
    except msgspec.ValidationError as error:
        _refuse(error, kind, field)
    request.check()
    return request


def _decode_surrogates(body: bytes, error: Exception) -> Any:
    """JSON that msgspec refuses only for half a surrogate pair: a text's fault, not the body's."""
    if b"\\u" in body:
        try:
            return json.loads(body, parse_constant=_no_constant, object_pairs_hook=_without_twice)
        except (ValueError, RecursionError):
            pass
    raise MalformedError(f"The body is not JSON: {error}.", "Send one JSON object in UTF-8.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(error: Exception, kind: type[Request], field: str = "") -> NoReturn:
    what, _, path = str(error).partition(" - at `$")
    place = (field + path.rstrip("`")).strip(".")
    names = ", ".join(one.encode_name for one in msgspec.structs.fields(kind))
    raise InvalidError(
        f"{place or 'The body'}: {what}."[:500], f"The fields are {names}; see /docs."
    ) from error
