"""The one error type of the project: what was found, what was expected, what to do next.

Every fault a caller can cause or cure is a `TransferError`; the HTTP edge turns it into the
uniform error body, the command line into one line on stderr and an exit code.
"""

from __future__ import annotations


class TransferError(Exception):
    """A fault with a stable code, an HTTP status, a message and a hint (the next step)."""

    code = "failed"
    status = 500

    def __init__(
        self, message: str, hint: str = "", *, code: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.code
        self.status = status or self.status

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(TransferError):
    """Wrong usage: an unknown recipe key, a missing column. Exit code 2 on the command line."""

    code = "usage"
    status = 422


class ContentError(TransferError):
    """A fault of one item's text (empty, not Unicode, too long); its neighbours are answered."""

    code = "invalid_content"
    status = 422


class ArtifactError(TransferError):
    """A variant on disk that does not fit its manifest; it is never served."""

    code = "invalid_artifact"
    status = 500


class NotReadyError(TransferError):
    """The variants are being loaded, or the service is about to end."""

    code = "not_ready"
    status = 503
    retry_after_s = 1
