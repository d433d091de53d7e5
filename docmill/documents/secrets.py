"""References to secrets, and keeping secrets out of messages.

A secret travels as a reference and is resolved where it is used: `env:NAME` (an environment variable),
`file:PATH` (a file's content, less the newline at its end) or `block:NAME` (a Prefect Secret block, read by
whom the caller injects). What a URI may carry in the open, and what is taken for a secret, is decided here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from docmill.errors import DocmillError, InvalidJobData
from docmill.settings import expanded

REFERENCE_HINT = "give a reference: env:NAME, file:PATH or block:NAME"
_REFERENCE = re.compile(r"(env|file|block):(.+)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_SECRET_FILE = 64 << 10


@dataclass(frozen=True, slots=True)
class SecretResolver:
    """Turns references into the secrets they name; `block` reads a Prefect Secret block by its name."""

    block: Callable[[str], str] | None = field(default=None, repr=False)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def resolve(self, reference: str, *, what: str = "secret") -> str:
        """The secret behind `reference`; `what` names it in messages, e.g. "password".

        Raises `InvalidJobData` where it is no reference, or leads nowhere. No message holds the secret, nor
        what was given in place of a reference.
        """
        kind, name = _parse(reference, what)
        if kind == "env":
            return self._from_environment(name, what)
        if kind == "file":
            return _from_file(name, what)
        return self._from_block(name, what)

    def _from_environment(self, name: str, what: str) -> str:
        value = self.environ.get(name)
        if value is None:
            raise InvalidJobData(
                f"the {what} is env:{name}, but that environment variable is not set",
                hint="set it where the job runs",
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJobData(f"the {what} is env:{name}, which is not UTF-8 text") from None
        return value

    def _from_block(self, name: str, what: str) -> str:
        if self.block is None:
            raise InvalidJobData(
                f"the {what} is block:{name}, but Prefect blocks cannot be read here",
                hint="use env:NAME or file:PATH",
            )
        try:
            return self.block(name)
        except DocmillError:
            raise
        except Exception as exc:
            # Not its words: they may hold what was in the block.
            raise InvalidJobData(
                f"the {what} is block:{name}, which cannot be read ({type(exc).__name__})",
                hint="is there a Secret block of that name?",
            ) from exc


def is_reference(text: str) -> bool:
    """Whether `text` has the form of a reference."""
    match = _REFERENCE.fullmatch(text)
    return match is not None and (match[1] != "env" or _VARIABLE.fullmatch(match[2]) is not None)


def _parse(reference: str, what: str) -> tuple[str, str]:
    match = _REFERENCE.fullmatch(reference)
    if match is None or not is_reference(reference):
        raise InvalidJobData(f"a {what} must not be given in the open", hint=REFERENCE_HINT)
    return match[1], match[2]


def _from_file(name: str, what: str) -> str:
    try:
        with expanded(name).open("rb") as file:
            content = file.read(_MAX_SECRET_FILE + 1)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or "no valid path"
        raise InvalidJobData(f"the {what} is file:{name}, which cannot be read: {why}") from None
    if len(content) > _MAX_SECRET_FILE:
        raise InvalidJobData(f"the {what} is file:{name}, which is longer than {_MAX_SECRET_FILE} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InvalidJobData(f"the {what} is file:{name}, which is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


# Userinfo ends at the last '@' of the authority. A password with a raw '/' (AWS secrets have them) makes the
# authority end early; then what looks like a port is no number, which tells it from http://host:80/a@b.
_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*:/{2,})"
_USERINFO = re.compile(_SCHEME + r"(?:[^/?#\s]*@|[^/?#@\s]*:(?!\d*(?:[/?#\s]|$))[^\s]*@)")
_WHOLE_USERINFO = re.compile(_SCHEME + r"(?:[^/?#]*@|[^/?#@]*:(?!\d*(?:[/?#]|$)).*@)", re.DOTALL)
# Schemes whose user alone, without a password, is no secret: the key is an agent's or a file's.
_USER_IS_OPEN = frozenset({"sftp", "ssh", "ftp"})
_SECRET_FIELDS = (
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|awsaccesskeyid|googleaccessid|"
    r"(?:access|auth|refresh|id|session|security|private|bearer)?[_-]?token|api[_-]?key|access[_-]?key|"
    r"pass|passwd|password|pwd|(?:client[_-]?)?secret|credentials?|authorization|auth|jwt"
)
_SECRET_FIELD = re.compile(rf"([?&;#](?:{_SECRET_FIELDS})=)([^&;#\s]+)", re.IGNORECASE)
_WHOLE_SECRET_FIELD = re.compile(rf"([?&;#](?:{_SECRET_FIELDS})=)([^&;#]+)", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with the secrets of the URIs in it replaced by `***`."""
    if ":/" not in text:
        return text
    return _SECRET_FIELD.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def redact_uri(uri: str) -> str:
    """`uri`, which is one URI and nothing else, with its secrets replaced by `***`."""
    if ":/" not in uri:
        return uri
    return _WHOLE_SECRET_FIELD.sub(r"\1***", _WHOLE_USERINFO.sub(r"\1***@", uri))


def has_secret(uri: str) -> bool:
    """Whether `uri` carries a user with a password, a key, or a signature."""
    if ":/" not in uri:
        return False
    if _WHOLE_SECRET_FIELD.search(uri):
        return True
    match = _WHOLE_USERINFO.match(uri)
    if match is None:
        return False
    return ":" in match[0][len(match[1]) :] or match[1].partition(":")[0].lower() not in _USER_IS_OPEN
