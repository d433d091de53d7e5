"""What an exception of the operating system, a store or its library means.

Libraries are told by the names of their classes and modules, so that none has to be imported to ask.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from docmill.documents.secrets import redact


class Kind(Enum):
    """What a failure of a store means to the caller."""

    NOT_FOUND = auto()
    FORBIDDEN = auto()
    EXISTS = auto()
    FULL = auto()
    UNAVAILABLE = auto()
    INVALID = auto()
    MISSING_EXTRA = auto()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed, to go after "cannot read 'x': ", and what to do about it."""

    kind: Kind
    why: str
    hint: str = ""


class UnknownScheme(Exception):
    """There is no store for the scheme of a URI."""


def classify(exc: BaseException) -> Cause | None:
    """What `exc` means; None where it is none of the known ways of failing, so a defect."""
    code = store_code(exc)
    if code is not None:
        return _of_store_code(code, exc)
    return _of_library(exc) or _of_system(exc)


def store_code(exc: BaseException) -> str | None:
    """The code of an S3 store's error (`NoSuchBucket`, `412`); s3fs keeps it as its error's cause."""
    link: BaseException | None = exc
    while link is not None:
        response = getattr(link, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        link = link.__cause__
    return None


_NOT_FOUND = Cause(Kind.NOT_FOUND, "it does not exist")
_DENIED = Cause(Kind.FORBIDDEN, "permission denied", "check the permissions, and as whom docmill runs")
_NO_ANSWER = Cause(Kind.UNAVAILABLE, "no answer came in time", "try again later")
_BY_ERRNO: dict[int | None, Cause] = {
    errno.ENOENT: _NOT_FOUND,
    errno.ENOTDIR: Cause(Kind.NOT_FOUND, "a part of its path is no folder"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: Cause(Kind.FORBIDDEN, "the file system is read-only", "choose another place"),
    errno.EISDIR: Cause(Kind.INVALID, "it is a folder"),
    errno.ENOSPC: Cause(Kind.FULL, "no space is left", "free some space or choose another place"),
    errno.EDQUOT: Cause(Kind.FULL, "the disk quota is used up", "free some space or choose another place"),
    errno.EFBIG: Cause(
        Kind.FULL, "a file may not be so large there", "choose another place, or see the limit of `ulimit -f`"
    ),
    errno.ENAMETOOLONG: Cause(Kind.INVALID, "the name is too long"),
    errno.ELOOP: Cause(Kind.INVALID, "its symbolic links lead in a circle"),
    errno.ETIMEDOUT: _NO_ANSWER,
    errno.ECONNREFUSED: Cause(Kind.UNAVAILABLE, "the connection was refused", "is the store running?"),
}


def _of_system(exc: BaseException) -> Cause | None:
    if not isinstance(exc, OSError):
        return None
    if exc.errno in _BY_ERRNO:
        return _BY_ERRNO[exc.errno]
    for cls, cause in (
        (FileNotFoundError, _NOT_FOUND),
        (PermissionError, _DENIED),
        (FileExistsError, Cause(Kind.EXISTS, "it is there already")),
        (IsADirectoryError, _BY_ERRNO[errno.EISDIR]),
        (TimeoutError, _NO_ANSWER),
    ):
        if isinstance(exc, cls):
            return cause
    return Cause(Kind.UNAVAILABLE, _words(exc))


_CREDENTIALS_HINT = "check the store's credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, FSSPEC_S3_KEY ...)"
_STORE_DENIES = Cause(Kind.FORBIDDEN, "the store denies access", _CREDENTIALS_HINT)
_STORE_FULL = Cause(Kind.FULL, "the store has no room left", "free some space or choose another place")
_STORE_FAILS = Cause(Kind.UNAVAILABLE, "the store is overloaded or failing", "try again later")
_STORE_REFUSES_NAME = Cause(Kind.INVALID, "the store does not take this name or size")
_STORE_HAS_IT = Cause(Kind.EXISTS, "it is there already")
_BY_STORE_CODE = {
    "NoSuchBucket": Cause(Kind.NOT_FOUND, "there is no such bucket", "check the bucket's name"),
    "NoSuchKey": _NOT_FOUND,
    "NoSuchVersion": _NOT_FOUND,
    "NoSuchUpload": _NOT_FOUND,
    "AccessDenied": _STORE_DENIES,
    "AccountProblem": _STORE_DENIES,
    "AllAccessDisabled": _STORE_DENIES,
    "ExpiredToken": _STORE_DENIES,
    "InvalidAccessKeyId": _STORE_DENIES,
    "InvalidObjectState": _STORE_DENIES,
    "InvalidSecurity": _STORE_DENIES,
    "InvalidToken": _STORE_DENIES,
    "RequestTimeTooSkewed": _STORE_DENIES,
    "SignatureDoesNotMatch": _STORE_DENIES,
    "UnauthorizedAccess": _STORE_DENIES,
    "EntityTooLarge": _STORE_REFUSES_NAME,
    "InvalidBucketName": _STORE_REFUSES_NAME,
    "InvalidURI": _STORE_REFUSES_NAME,
    "KeyTooLongError": _STORE_REFUSES_NAME,
    "PreconditionFailed": _STORE_HAS_IT,
    "ConditionalRequestConflict": _STORE_HAS_IT,
    "412": _STORE_HAS_IT,
    "InsufficientStorage": _STORE_FULL,
    "QuotaExceeded": _STORE_FULL,
    "StorageFull": _STORE_FULL,
    "XMinioStorageFull": _STORE_FULL,
    "507": _STORE_FULL,
    "BadDigest": _STORE_FAILS,
    "IncompleteBody": _STORE_FAILS,
    "InternalError": _STORE_FAILS,
    "RequestTimeout": _STORE_FAILS,
    "ServiceUnavailable": _STORE_FAILS,
    "SlowDown": _STORE_FAILS,
}


def _of_store_code(code: str, exc: BaseException) -> Cause:
    if code in _BY_STORE_CODE:
        return _BY_STORE_CODE[code]
    if code.isdigit():
        return _of_http_status(int(code), _words(exc))
    return Cause(Kind.UNAVAILABLE, f"the store says {code}: {_words(exc)}")


def _of_http_status(status: int, words: str) -> Cause:
    if status in {404, 410}:
        return _NOT_FOUND
    if status in {401, 403, 407}:
        return Cause(Kind.FORBIDDEN, f"the server denies access (HTTP {status})", "check the credentials")
    if status in {408, 425, 429} or status >= 500:
        return Cause(Kind.UNAVAILABLE, f"the server fails with HTTP {status}", "try again later")
    return Cause(Kind.FORBIDDEN, f"the server refuses with HTTP {status}: {words}", "check the URI")


_CONNECT_HINT = "check the address, and that the store is running"
_LATER = "try again later"
# Classes of aiohttp and botocore. Of those an error has, from the special to the general, the first counts.
_BY_CLASS: dict[str, tuple[Kind, str, str]] = {
    "ClientConnectorDNSError": (Kind.UNAVAILABLE, "there is no host of that name", "check the host's name"),
    "ClientConnectorCertificateError": (Kind.UNAVAILABLE, "its certificate is not trusted", "renew it"),
    "ClientConnectorSSLError": (Kind.UNAVAILABLE, "no secure connection comes up", "is it http, not https?"),
    "ServerTimeoutError": (Kind.UNAVAILABLE, "no answer came in time", _LATER),
    "ServerDisconnectedError": (Kind.UNAVAILABLE, "the server closed the connection", _LATER),
    "ClientConnectorError": (Kind.UNAVAILABLE, "the host cannot be reached", _CONNECT_HINT),
    "ClientPayloadError": (Kind.UNAVAILABLE, "it ended before it was whole", _LATER),
    "TooManyRedirects": (Kind.NOT_FOUND, "its redirects do not end", "check the URI"),
    "InvalidURL": (Kind.INVALID, "this is no valid URL", "check the URI"),
    "ClientError": (Kind.UNAVAILABLE, "the server's answer cannot be understood", _LATER),
    "NoCredentialsError": (Kind.FORBIDDEN, "there are no credentials for its store", _CREDENTIALS_HINT),
    "PartialCredentialsError": (Kind.FORBIDDEN, "the credentials are incomplete", _CREDENTIALS_HINT),
    "CredentialRetrievalError": (Kind.FORBIDDEN, "the credentials cannot be read", _CREDENTIALS_HINT),
    "TokenRetrievalError": (Kind.FORBIDDEN, "{words}", _CREDENTIALS_HINT),
    "ProfileNotFound": (Kind.FORBIDDEN, "{words}", _CREDENTIALS_HINT),
    "EndpointConnectionError": (Kind.UNAVAILABLE, "the host cannot be reached", _CONNECT_HINT),
    "ConnectTimeoutError": (Kind.UNAVAILABLE, "the host does not answer", _CONNECT_HINT),
    "ReadTimeoutError": (Kind.UNAVAILABLE, "no answer came in time", _LATER),
    "HTTPClientError": (Kind.UNAVAILABLE, "the connection broke", _LATER),
    "ParamValidationError": (Kind.INVALID, "the store does not take this name", "check the URI"),
    "BotoCoreError": (Kind.UNAVAILABLE, "{words}", _LATER),
}


def _of_library(exc: BaseException) -> Cause | None:
    for name in _library_classes(exc):
        if name == "ClientResponseError" and exc.__cause__ is None:
            return _of_http_status(getattr(exc, "status", 0), str(getattr(exc, "message", "")))
        if name in _BY_CLASS:
            kind, why, hint = _BY_CLASS[name]
            return Cause(kind, why.format(words=_words(exc)), hint)
    if isinstance(exc, ImportError):
        return Cause(Kind.MISSING_EXTRA, _words(exc), "install the package that this store needs")
    if isinstance(exc, UnknownScheme):
        return Cause(Kind.INVALID, "no store is known by this scheme", "check the URI")
    if isinstance(exc, ValueError) and str(exc).startswith("Invalid endpoint"):
        return Cause(Kind.INVALID, "its store's address is no URL", "check AWS_ENDPOINT_URL")
    if isinstance(exc, UnicodeEncodeError):
        return Cause(Kind.INVALID, "the name is not UTF-8")
    return None


def _library_classes(exc: BaseException) -> Iterator[str]:
    for cls in type(exc).__mro__:
        if cls.__module__.partition(".")[0] in {"aiohttp", "botocore", "aiobotocore"}:
            yield cls.__name__


def _words(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return " ".join(redact(str(text)).split())[:300]
