"""The service from Python: typed answers, and retries that wait as long as they are asked to.

    from services.client import Client

    with Client("http://127.0.0.1:3000") as client:
        print(client.classify("please move 200 dollars to savings").first.label)
        for event in client.summarize_stream(text):
            print(event)

`AsyncClient` has the same methods to await. Both need httpx and msgspec alone of all packages
(`pip install -e ".[client]"`). Every method raises ServiceError.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from services import client_wire as wire
from services.answers import ClassifyResult, CompareAnswer, ModelEntry, QaResult, SummarizeResult
from services.client_retries import Retries, Waits
from services.client_wire import (
    ClassifyAnswer,
    ClassifyOptions,
    QaAnswer,
    QaOptions,
    Response,
    ServiceError,
    StreamEvent,
    SummarizeAnswer,
    SummarizeOptions,
)

__all__ = ["AsyncClient", "Client", "Retries", "ServiceError"]

DEFAULT_URL = "http://127.0.0.1:3000"
JSON = {"content-type": "application/json"}

Task = Literal["classify", "qa", "summarize"]
Texts = str | Sequence[str]


class Client:
    """A connection to the service; a context manager, else to be closed.

    timeout_s: for each try; a list of long texts may need more
    api_key: where the service has keys
    headers: sent with every request, e.g. what a proxy asks for
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout_s,
            headers=_headers(api_key, headers),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def classify(self, text: Texts, **options: Unpack[ClassifyOptions]) -> ClassifyAnswer:
        """Label one text or several; with `labels`, by any names."""
        response = self._post("/classify", text=text, **options)
        return wire.task_answer(response, ClassifyResult)

    def qa(self, question: Texts, context: Texts, **options: Unpack[QaOptions]) -> QaAnswer:
        """Answer questions from documents; `context[start:end] == answer`."""
        response = self._post("/qa", question=question, context=context, **options)
        return wire.task_answer(response, QaResult)

    def summarize(self, text: Texts, **options: Unpack[SummarizeOptions]) -> SummarizeAnswer:
        """Summarize one text or several."""
        response = self._post("/summarize", text=text, **options)
        return wire.task_answer(response, SummarizeResult)

    def summarize_stream(
        self, text: str, **options: Unpack[SummarizeOptions]
    ) -> Iterator[StreamEvent]:
        """The summary as it comes: sentences, or pieces of text from a model that writes.

        The last event is the whole answer. What breaks off after the first byte is not asked again:
        nothing that was given out is taken back.
        """
        request = self._request("/summarize", text=text, stream=True, **options)
        with _translated(request), self._tried(request) as response:
            reader = wire.EventReader(response.headers)
            for line in response.iter_lines():
                yield from reader.push(line)
            reader.finish()

    def compare(
        self, task: Task, input: Mapping[str, Any], variants: Sequence[str] | None = None
    ) -> CompareAnswer:
        """Run one input through variants of its model; the first is the reference."""
        return wire.compare_answer(
            self._post("/compare", task=task, input=input, variants=variants)
        )

    def models(self) -> list[ModelEntry]:
        """Every variant that the service knows."""
        return wire.model_entries(self._whole(self._http.build_request("GET", "/models")))

    def _post(self, route: str, **fields: Any) -> Response:
        return self._whole(self._request(route, **fields))

    def _request(self, route: str, **fields: Any) -> httpx.Request:
        return self._http.build_request("POST", route, content=wire.body_of(fields), headers=JSON)

    def _whole(self, request: httpx.Request) -> Response:
        """Asked again also when an answer breaks off."""
        waits = Waits(self._retries)
        while True:
            try:
                with _translated(request):
                    return _checked(self._http.send(request))
            except ServiceError as error:
                time.sleep(waits.after(error))

    @contextmanager
    def _tried(self, request: httpx.Request) -> Iterator[httpx.Response]:
        """The beginning of a good answer, its body still coming."""
        waits = Waits(self._retries)
        while True:
            try:
                with _translated(request):
                    response = self._http.send(request, stream=True)
                    if response.is_error:
                        response.read()
                        _checked(response)
                break
            except ServiceError as error:
                time.sleep(waits.after(error))
        try:
            yield response
        finally:
            response.close()


class AsyncClient:
    """`Client` for asyncio: the same methods, to await; the stream is an async iterator."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            headers=_headers(api_key, headers),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def classify(self, text: Texts, **options: Unpack[ClassifyOptions]) -> ClassifyAnswer:
        """Label one text or several; with `labels`, by any names."""
        response = await self._post("/classify", text=text, **options)
        return wire.task_answer(response, ClassifyResult)

    async def qa(self, question: Texts, context: Texts, **options: Unpack[QaOptions]) -> QaAnswer:
        """Answer questions from documents; `context[start:end] == answer`."""
        response = await self._post("/qa", question=question, context=context, **options)
        return wire.task_answer(response, QaResult)

    async def summarize(self, text: Texts, **options: Unpack[SummarizeOptions]) -> SummarizeAnswer:
        """Summarize one text or several."""
        response = await self._post("/summarize", text=text, **options)
        return wire.task_answer(response, SummarizeResult)

    async def summarize_stream(
        self, text: str, **options: Unpack[SummarizeOptions]
    ) -> AsyncIterator[StreamEvent]:
        """The summary as it comes; see `Client.summarize_stream`."""
        request = self._request("/summarize", text=text, stream=True, **options)
        with _translated(request):
            async with self._tried(request) as response:
                reader = wire.EventReader(response.headers)
                async for line in response.aiter_lines():
                    for event in reader.push(line):
                        yield event
                reader.finish()

    async def compare(
        self, task: Task, input: Mapping[str, Any], variants: Sequence[str] | None = None
    ) -> CompareAnswer:
        """Run one input through variants of its model; the first is the reference."""
        response = await self._post("/compare", task=task, input=input, variants=variants)
        return wire.compare_answer(response)

    async def models(self) -> list[ModelEntry]:
        """Every variant that the service knows."""
        return wire.model_entries(await self._whole(self._http.build_request("GET", "/models")))

    async def _post(self, route: str, **fields: Any) -> Response:
        return await self._whole(self._request(route, **fields))

    def _request(self, route: str, **fields: Any) -> httpx.Request:
        return self._http.build_request("POST", route, content=wire.body_of(fields), headers=JSON)

    async def _whole(self, request: httpx.Request) -> Response:
        """Asked again also when an answer breaks off."""
        waits = Waits(self._retries)
        while True:
            try:
                with _translated(request):
                    return _checked(await self._http.send(request))
            except ServiceError as error:
                await asyncio.sleep(waits.after(error))

    @asynccontextmanager
    async def _tried(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """The beginning of a good answer, its body still coming."""
        waits = Waits(self._retries)
        while True:
            try:
                with _translated(request):
                    response = await self._http.send(request, stream=True)
                    if response.is_error:
                        await response.aread()
                        _checked(response)
                break
            except ServiceError as error:
                await asyncio.sleep(waits.after(error))
        try:
            yield response
        finally:
            await response.aclose()


def _headers(api_key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    key = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    return {**key, **(headers or {})}


def _checked(response: httpx.Response) -> Response:
    """A good answer that has been read; raises ServiceError."""
    whole = Response(response.status_code, response.headers, response.content)
    if response.is_error:
        raise wire.error_of(whole)
    return whole


@contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    """What httpx raises, as a ServiceError."""
    try:
        yield
    except httpx.UnsupportedProtocol as error:
        raise ServiceError(
            f"{request.url} is no address of a service.",
            f"Use one like {DEFAULT_URL}.",
            code="invalid_url",
            status=0,
        ) from error
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        raise ServiceError(
            f"{request.url} had not answered in time.",
            "Send less at once, or allow more with timeout_s.",
            code="timeout",
            status=0,
        ) from error
    except httpx.TransportError as error:
        raise ServiceError(
            f"{request.url} cannot be reached: {str(error) or type(error).__name__}.",
            "Is the service running, and is this its address?",
            code=wire.UNREACHABLE,
            status=0,
        ) from error
