"""The pair of tokens that names a job: `userToken`, who submits, and `jobToken`, the job."""

from __future__ import annotations

import hashlib
import uuid

from docmill.errors import InvalidJobData, JobNotFound

MAX_TOKEN_CHARACTERS = 256


def job_key(user_token: str, job_token: str) -> str:
    """The idempotency key of the pair's flow run: 72 ASCII characters, whatever the tokens hold.

    The length of the user token stands before the pair, so that ("ab", "c") and ("a", "bc") differ. Prefect
    answers 503 to keys over about 2,700 bytes and to NUL, hence the hash.
    """
    user, job = _utf8("userToken", user_token), _utf8("jobToken", job_token)
    return "docmill:" + hashlib.sha256(b"%d:%b%b" % (len(user), user, job)).hexdigest()


def check_tokens(user_token: str, job_token: str) -> None:
    """Raise `InvalidJobData` unless each token has 1 to 256 characters, none of them NUL."""
    _utf8("userToken", user_token)
    _utf8("jobToken", job_token)


def new_job_token() -> str:
    """A job token for a caller that gives none: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def no_such_job(user_token: str, job_token: str) -> JobNotFound:
    """The error that no job answers to the pair, to be raised."""
    return JobNotFound(
        f"user {user_token} has no job {job_token}",
        hint="it may have been deleted, or be another user's; see `docmill jobs`",
    )


def _utf8(name: str, token: str) -> bytes:
    if not isinstance(token, str):
        raise InvalidJobData(f"{name} is not text")
    if not 1 <= len(token) <= MAX_TOKEN_CHARACTERS:
        raise InvalidJobData(f"{name} has {len(token)} characters, not 1 to {MAX_TOKEN_CHARACTERS}")
    if "\0" in token:
        raise InvalidJobData(f"{name} holds a NUL character")
    try:
        return token.encode()
    except UnicodeEncodeError:
        # A lone surrogate, half of a character: JSON lets it through, no database does.
        raise InvalidJobData(f"{name} holds half of a surrogate pair, which is no character") from None
