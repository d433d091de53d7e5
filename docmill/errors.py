"""The errors of docmill, and the three tables that map them to the outside.

Every failure that a caller can act on is a `DocmillError`: what is wrong, how to mend it, in which phase
and on which page. The same words reach the CLI, the HTTP service and `StatusJobData`. Errors cross process
borders as JSON (`to_dict`, `error_from_dict`), so they carry plain values only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Phase(StrEnum):
    """The stage of a job in which an error came up."""

    SUBMIT = "submit"
    LOAD = "load"
    CACHE = "cache"
    CONVERT = "convert"
    PUBLISH = "publish"


class DocmillError(Exception):
    """A failure that a caller can act on.

    `message` says what is wrong, `hint` what to do about it, `page` counts from 1.
    """

    code: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = cls.__name__

    def __init__(
        self, message: str, *, hint: str = "", phase: Phase | None = None, page: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.phase = phase
        self.page = page

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return error_from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-safe values; `error_from_dict` turns them back."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "phase": self.phase and str(self.phase),
            "page": self.page,
        }


class in_phase:
    """A context that names the phase in the errors that come up inside, where they do not name one."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DocmillError) and error.phase is None:
            error.phase = self._phase


class InvalidJobData(DocmillError):
    """The request itself is wrong: an option, a field, a name."""


class SourceNotFound(DocmillError):
    """There is nothing at the source URI, or no such store."""


class SourceForbidden(DocmillError):
    """The store refuses to hand out the source."""


class SourceUnavailable(DocmillError):
    """The store does not answer, or fails; a retry may help."""


class UnknownFormat(DocmillError):
    """The content is of no type that docmill knows."""


class UnsupportedConversion(DocmillError):
    """The type is known, but not this conversion of it."""


class CorruptDocument(DocmillError):
    """The content breaks the rules of its own format."""


class PasswordRequired(DocmillError):
    """The document is encrypted and no password was given."""


class PasswordWrong(DocmillError):
    """The password given does not open the document."""


class LimitExceeded(DocmillError):
    """A limit of this installation was reached.

    `limit` says which in words (`pages`, `memory`), `setting` is the environment variable that raises it.
    """

    def __init__(
        self,
        message: str,
        *,
        limit: str = "",
        setting: str = "",
        hint: str = "",
        phase: Phase | None = None,
        page: int | None = None,
    ) -> None:
        super().__init__(
            message,
            hint=hint or (f"raise {setting} to allow more" if setting else ""),
            phase=phase,
            page=page,
        )
        self.limit = limit
        self.setting = setting

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"limit": self.limit, "setting": self.setting}


class MissingExtra(DocmillError):
    """A package or tool that this conversion needs is not installed; the hint names the extra."""

    @staticmethod
    def how(extra: str) -> str:
        """The hint: a clone's environment has no pip, and that of the system would take another docmill."""
        return f"`scripts/setup {extra}` in a clone, else pip install 'docmill[{extra}]'"


class EngineFailed(DocmillError):
    """An engine gave up without naming the document as the cause."""


class EngineCrashed(DocmillError):
    """The engine's process died; the message names the signal and the page."""


class DestinationExists(DocmillError):
    """There is something at the target already."""


class DestinationForbidden(DocmillError):
    """The target cannot be written to."""


class DestinationFull(DocmillError):
    """The target has no room left."""


class DestinationUnavailable(DocmillError):
    """The target's store does not answer, or fails; a retry may help."""


class JobNotFound(DocmillError):
    """No job answers to this pair of tokens."""


class JobTokenInUse(DocmillError):
    """The pair of tokens belongs to a job with another input or other options."""


class PrefectUnavailable(DocmillError):
    """The Prefect API does not answer."""


class JobAborted(DocmillError):
    """The job was aborted."""


EXIT_CODES: dict[type[DocmillError], int] = {
    InvalidJobData: 2,
    SourceNotFound: 10,
    SourceForbidden: 11,
    SourceUnavailable: 12,
    UnknownFormat: 20,
    UnsupportedConversion: 21,
    CorruptDocument: 22,
    PasswordRequired: 23,
    PasswordWrong: 24,
    LimitExceeded: 30,
    MissingExtra: 31,
    EngineFailed: 40,
    EngineCrashed: 41,
    DestinationExists: 50,
    DestinationForbidden: 51,
    DestinationFull: 52,
    DestinationUnavailable: 53,
    JobNotFound: 60,
    JobTokenInUse: 61,
    PrefectUnavailable: 62,
    JobAborted: 130,
}
EXIT_DEFECT = 1
EXIT_USAGE = 2
EXIT_WITH_ERRORS = 3
#: As a shell has it for a program that SIGPIPE ends.
EXIT_PIPE = 141

HTTP_STATUSES: dict[type[DocmillError], int] = {
    InvalidJobData: 422,
    SourceNotFound: 404,
    SourceForbidden: 403,
    SourceUnavailable: 502,
    UnknownFormat: 415,
    UnsupportedConversion: 415,
    CorruptDocument: 422,
    PasswordRequired: 422,
    PasswordWrong: 422,
    LimitExceeded: 413,
    MissingExtra: 501,
    EngineFailed: 500,
    EngineCrashed: 500,
    DestinationExists: 409,
    DestinationForbidden: 403,
    DestinationFull: 507,
    DestinationUnavailable: 502,
    JobNotFound: 404,
    JobTokenInUse: 409,
    PrefectUnavailable: 503,
    JobAborted: 409,
}


class Retry(StrEnum):
    """Whether running the task again can help."""

    NO = "no"
    ONCE = "once"
    YES = "yes"


RETRIES: dict[type[DocmillError], Retry] = {
    InvalidJobData: Retry.NO,
    SourceNotFound: Retry.NO,
    SourceForbidden: Retry.NO,
    SourceUnavailable: Retry.YES,
    UnknownFormat: Retry.NO,
    UnsupportedConversion: Retry.NO,
    CorruptDocument: Retry.NO,
    PasswordRequired: Retry.NO,
    PasswordWrong: Retry.NO,
    LimitExceeded: Retry.NO,
    MissingExtra: Retry.NO,
    EngineFailed: Retry.NO,
    EngineCrashed: Retry.ONCE,
    DestinationExists: Retry.NO,
    DestinationForbidden: Retry.NO,
    DestinationFull: Retry.NO,
    DestinationUnavailable: Retry.YES,
    JobNotFound: Retry.NO,
    JobTokenInUse: Retry.NO,
    PrefectUnavailable: Retry.YES,
    JobAborted: Retry.NO,
}

ERRORS: dict[str, type[DocmillError]] = {cls.code: cls for cls in EXIT_CODES}


def error_from_dict(data: dict[str, Any]) -> DocmillError:
    """The error that `DocmillError.to_dict` wrote; unknown codes come back as `EngineFailed`.

    What else is no error's, as in a label that somebody changed in the Prefect UI, is left out.
    """
    cls = ERRORS.get(str(data.get("code", "")), EngineFailed)
    names = ("hint", "page", *(("limit", "setting") if cls is LimitExceeded else ()))
    phase = data.get("phase")
    return cls(
        str(data.get("message") or "failed"),
        phase=Phase(phase) if phase in tuple(Phase) else None,
        **{name: data[name] for name in names if name in data},
    )
