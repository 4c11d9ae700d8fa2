"""API keys: who may ask. Off until keys are set.

Keys come from TRANSFER_API_KEYS (with commas) and from the file TRANSFER_API_KEYS_FILE (one a line,
`#` begins a comment), each as `KEY` or `NAME:KEY`. Several are valid at once, so that a new one can
be handed out before the old one goes; the file is read again when it changes. Names appear in logs,
keys nowhere.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from time import monotonic

from services.errors import TransferError, UsageError

logger = logging.getLogger("transfer")

_KEY = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,40}):)?(?P<key>[A-Za-z0-9._~+/=-]{16,200})")
LOOK_S = 1.0  # between two looks at the file

Digests = dict[bytes, str]  # sha256 of each key, and its name


class UnauthorizedError(TransferError):
    """No API key, or one that is not valid."""

    code = "unauthorized"
    status = 401
    unread = True  # the body may still be coming


class KeyRing:
    """The keys that are valid now; raises UsageError for keys that cannot be."""

    def __init__(self, keys: Iterable[str] = (), file: Path | None = None) -> None:
        self.required = bool(file or keys)
        self._fixed = digests_of(keys, "TRANSFER_API_KEYS")
        self._file = file
        self._version: tuple[int, ...] = ()
        self._looked = 0.0
        self._of_file: Digests = {}
        if file is not None:
            self._version = _version(file)
            self._of_file = read_keys(file)

    def require(self, headers: Mapping[str, str]) -> str:
        """The name of the key that a request carries; raises UnauthorizedError."""
        if not self.required:
            return ""
        name = self.name_of(_presented(headers))
        if name is None:
            raise UnauthorizedError(
                "This needs a valid API key.", "Send the header Authorization: Bearer KEY."
            )
        return name

    def name_of(self, key: str) -> str | None:
        """Compares with all keys, in a time that tells nothing about them."""
        self._look()
        digest = sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, name in [*self._fixed.items(), *self._of_file.items()]:
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _look(self) -> None:
        """Read the file again when it has changed; a file that is broken changes nothing."""
        if self._file is None or monotonic() < self._looked + LOOK_S:
            return
        self._looked = monotonic()
        try:
            version = _version(self._file)
            if version != self._version:
                self._of_file, self._version = read_keys(self._file), version
                logger.info("%s was read again: %d keys", self._file, len(self._of_file))
        except UsageError as error:
            logger.error("the keys stay as they were: %s", error)


def read_keys(file: Path) -> Digests:
    """The keys of a file; raises UsageError for one that has none, or a line that is no key."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"TRANSFER_API_KEYS_FILE names {file}, which cannot be read: {error}.",
            "Correct or unset it.",
        ) from error
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    keys = digests_of([line for line in lines if line], str(file))
    if not keys:
        raise UsageError(f"{file} has no key.", "Write one a line, as KEY or NAME:KEY.")
    return keys


def digests_of(keys: Iterable[str], place: str) -> Digests:
    """Digest and name of each key; the name of one without is made of its digest."""
    digests: Digests = {}
    for number, text in enumerate(keys, 1):
        match = _KEY.fullmatch(text)
        if match is None:
            raise UsageError(
                f"Key {number} of {place} is none; expected KEY or NAME:KEY, a key of 16 to 200 "
                "letters, digits or ._~+/=-.",
                "Make one with `openssl rand -hex 24`.",
            )
        digest = sha256(match["key"].encode()).digest()
        digests[digest] = match["name"] or f"key-{digest.hex()[:8]}"
    return digests


def _presented(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _version(file: Path) -> tuple[int, ...]:
    """Changes when the file does, also when a link to it is moved."""
    try:
        seen = file.stat()
    except OSError as error:
        raise UsageError(
            f"TRANSFER_API_KEYS_FILE names {file}, which cannot be read: {error}.",
            "Correct or unset it.",
        ) from error
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
