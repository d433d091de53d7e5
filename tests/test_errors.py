"""The three tables are total, and an error survives every border it crosses."""

from __future__ import annotations

import pickle

import pytest

from docmill import errors
from docmill.errors import EXIT_CODES, HTTP_STATUSES, RETRIES, DocmillError, Phase, error_from_dict


def concrete_errors() -> list[type[DocmillError]]:
    return [cls for cls in vars(errors).values() if isinstance(cls, type) and DocmillError in cls.__bases__]


@pytest.mark.parametrize("table", [EXIT_CODES, HTTP_STATUSES, RETRIES], ids=["exit", "http", "retry"])
def test_each_table_names_every_error(table):
    assert set(table) == set(concrete_errors())


def test_exit_codes_are_told_apart():
    codes = list(EXIT_CODES.values())
    assert len(set(codes)) == len(codes)
    assert not {0, errors.EXIT_DEFECT, errors.EXIT_WITH_ERRORS} & set(codes)


@pytest.mark.parametrize("cls", concrete_errors(), ids=lambda cls: cls.__name__)
def test_an_error_crosses_json_and_pickle(cls):
    error = cls("it is broken", hint="mend it", phase=Phase.CONVERT, page=3)
    for copy in (error_from_dict(error.to_dict()), pickle.loads(pickle.dumps(error))):
        assert type(copy) is cls
        assert copy.to_dict() == error.to_dict()
        assert str(copy) == "it is broken (mend it)"


def test_a_limit_names_the_setting_that_raises_it():
    error = errors.LimitExceeded("too large", limit="source bytes", setting="DOCMILL_MAX_SOURCE_BYTES")
    assert "DOCMILL_MAX_SOURCE_BYTES" in str(error)
    assert error_from_dict(error.to_dict()).setting == "DOCMILL_MAX_SOURCE_BYTES"


def test_an_error_of_a_later_version_still_comes_through():
    assert str(error_from_dict({"code": "FromTheFuture", "message": "odd"})) == "odd"
