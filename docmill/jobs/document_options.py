"""`documentOptions` of the wire format as options of a conversion; others are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docmill.errors import InvalidJobData
from docmill.formats import PDF, TEXT, Format

_TEXTS = {"title": "title", "subject": "subject", "keywords": "keywords", "author": "author"}
_FLAGS = frozenset({"linearized", "isProtected"})
_PASSWORDS = {"userPassword": "encrypt_user_password", "ownerPassword": "encrypt_owner_password"}
# What a reader may do with a PDF where the wire says nothing of it, and the permission's names in docmill.
_PERMISSIONS = {
    "printEnabled": (True, ("print-low",)),
    "highQualityPrintEnabled": (True, ("print",)),
    "copyEnabled": (True, ("copy",)),
    "editEnabled": (True, ("edit",)),
    "annotationsEnabled": (True, ("annotate", "fill")),
    "assemblyEnabled": (False, ("assemble",)),
}
# Values that ask for what docmill does anyway; 3 is UTF-8.
_AS_IT_IS: dict[Format, dict[str, object]] = {
    PDF: {"documentType": 0, "autoBookmarksEnabled": False, "customBookmarks": [], "autoBookmarks": []},
    TEXT: {"documentType": 3, "addPageBreak": True, "addPageNumber": False, "formatted": False},
}


def options_of_document(options: Mapping[str, Any], format: Format) -> dict[str, Any]:
    """The `ConvertOptions` that `documentOptions` of a document in `format` ask for, by name.

    Raises `InvalidJobData` that names each key which is not honoured. Passwords are references to secrets.
    """
    set_ones = {key: value for key, value in options.items() if value is not None and key != "format"}
    neutral = _AS_IT_IS.get(format, {})
    known = {*_TEXTS, *_FLAGS, *_PASSWORDS, *_PERMISSIONS} if format is PDF else set()
    refused = sorted(
        key
        for key, value in set_ones.items()
        if key not in known and not (key in neutral and _same(neutral[key], value))
    )
    if refused:
        names = ", ".join(f"documentOptions.{key}" for key in refused)
        raise InvalidJobData(
            f"docmill does not honour {names} yet", hint="leave it out to let docmill choose"
        )
    return _of_pdf(set_ones) if format is PDF else {}


def _of_pdf(options: Mapping[str, Any]) -> dict[str, Any]:
    for key in (*_FLAGS, *_PERMISSIONS):
        _check(options, key, bool)
    for key in (*_TEXTS, *_PASSWORDS):
        _check(options, key, str)
    asked: dict[str, Any] = {name: options[key] for key, name in _TEXTS.items() if options.get(key)}
    if options.get("linearized"):
        asked["linearize"] = True
    passwords = {name: options[key] for key, name in _PASSWORDS.items() if options.get(key)}
    permissions = options.keys() & _PERMISSIONS.keys()
    if not options.get("isProtected"):
        # Without protection the wire's permissions say nothing; a password that was given is to be set.
        if passwords:
            raise InvalidJobData("a password in documentOptions needs documentOptions.isProtected")
        return asked
    if not passwords:
        raise InvalidJobData(
            "documentOptions.isProtected needs a password",
            hint="userPassword or ownerPassword as env:NAME, file:PATH or block:NAME",
        )
    if permissions:
        asked["permissions"] = _permissions(options)
    return asked | passwords


def _permissions(options: Mapping[str, Any]) -> str:
    allowed = {key for key, (default, _) in _PERMISSIONS.items() if options.get(key, default)}
    if "printEnabled" not in allowed:
        allowed.discard("highQualityPrintEnabled")
    elif "highQualityPrintEnabled" in allowed:
        allowed.discard("printEnabled")
    return ",".join(name for key in sorted(allowed) for name in _PERMISSIONS[key][1]) or "none"


def _check(options: Mapping[str, Any], key: str, kind: type) -> None:
    if key in options and not isinstance(options[key], kind):
        # The value is not repeated: it may be a password.
        raise InvalidJobData(f"documentOptions.{key} is no {'text' if kind is str else 'true or false'}")


def _same(expected: object, value: object) -> bool:
    return type(expected) is type(value) and expected == value
