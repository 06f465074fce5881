"""Nothing secret gets into a log."""

from __future__ import annotations

import datetime
import enum
import json
import pathlib
import urllib.parse
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.daemon.monitoring import MASK, Redactor

SECRET = 'hunter2 "quoted"/ü'


@pytest.mark.parametrize(
    "key",
    [
        "token", "TOKEN", "accessToken", "access_token", "client-secret", "password", "Authorization", "proof", "nonce",
        "serverNonce", "api_key", "apiKey", "x-api-key", "privateKey", "set-cookie", "tokens", "APIKey",
        "db_credentials",
    ],
)  # fmt: skip
def test_a_secret_key_is_masked(key: str) -> None:
    assert Redactor().fields({key: "abc", "other": {key: ["abc"]}}) == {key: MASK, "other": {key: MASK}}


@pytest.mark.parametrize(
    "key", ["token_file", "tokenizer", "secretary", "tokenFile", "author", "passed", "token_count"]
)
def test_other_keys_are_left(key: str) -> None:
    assert Redactor().fields({key: "abc"}) == {key: "abc"}


def test_counted_tokens_are_no_secret_but_a_password_of_digits_is() -> None:
    assert Redactor().fields({"tokens": 512, "password": 1234, "token": None, "secret": False}) == {
        "tokens": 512, "password": MASK, "token": None, "secret": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=abc, next", "token=[redacted], next"),
        ("Authorization: Bearer a.b-c", "Authorization: Bearer [redacted]"),
        ('{"password": "a b c", "user": "x"}', '{"password": "[redacted]", "user": "x"}'),
        ("Auth(name='x', token='a b')", "Auth(name='x', token='[redacted]')"),
        ("https://x/?access_token=abc&q=1", "https://x/?access_token=[redacted]&q=1"),
        ("2 tokens: 5", "2 tokens: 5"),
        ("the token was refused", "the token was refused"),
        ("token_file=/x", "token_file=/x"),
        ("token=[redacted]", "token=[redacted]"),
    ],
)
def test_pairs_inside_a_text(text: str, expected: str) -> None:
    assert Redactor().text(text) == expected
    assert Redactor().text(Redactor().text(text)) == expected


@pytest.mark.parametrize(
    "form", [SECRET, repr(SECRET), json.dumps(SECRET), urllib.parse.quote(SECRET, safe=""), f"a{SECRET}b{SECRET}"]
)
def test_a_registered_secret_is_masked_in_every_form(form: str) -> None:
    redactor = Redactor([SECRET])
    assert "hunter2" not in redactor.text(form)
    assert "hunter2" not in json.dumps(redactor.fields({"x": [form, {form: form}], "y": form.encode()}))


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert Redactor([b"abcd", "abcdefgh"]).text("-abcdefgh-abcd-") == f"-{MASK}-{MASK}-"


def test_a_secret_too_short_to_be_one() -> None:
    with pytest.raises(ValueError, match="3 characters"):
        Redactor(["abc"])


@given(st.integers(0, 60), st.integers(20, 60))
def test_a_cut_leaves_no_part_of_a_secret(before: int, limit: int) -> None:
    redactor = Redactor(["S3CRET-VALUE"])
    shown = redactor.text("." * before + "S3CRET-VALUE" + "." * 200, limit)
    for length in range(2, 12):
        assert "S3CRET-VALUE"[:length] not in shown
    assert len(shown) < limit + 40


def test_values_become_plain_and_bounded() -> None:
    class Colour(enum.Enum):
        RED = "red"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    @attrs.define
    class Login:
        token: str

    deep: Any = []
    for _ in range(100):
        deep = [deep]
    plain = Redactor().fields(
        {
            "path": pathlib.PurePosixPath("/x"),
            "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "enum": Colour.RED,
            "nan": float("nan"),
            "big": 10**40,
            "set": {1},
            "many": list(range(1000)),
            "broken": Broken(),
            "login": Login("abc"),
            "bytes": b"ab\xff",
            "error": ValueError("x"),
            "deep": deep,
            5: True,
            "long": "x" * 100_000,
        }
    )
    json.loads(json.dumps(plain, allow_nan=False))
    assert plain["path"] == "/x"
    assert plain["when"].startswith("2026-01-02T")
    assert plain["enum"] == "red"
    assert plain["nan"] == "nan"
    assert plain["big"] == str(10**40)
    assert plain["set"] == [1]
    assert len(plain["many"]) == 257
    assert plain["broken"] == "<Broken without a text: RuntimeError>"
    assert "abc" not in plain["login"]
    assert plain["error"] == "ValueError: x"
    assert plain["5"] is True
    assert len(plain["long"]) < 17_000


@given(
    st.recursive(
        st.text() | st.integers() | st.none() | st.binary() | st.floats(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_anything_becomes_json(value: Any) -> None:
    json.dumps(Redactor(["secret"]).fields({"value": value}), allow_nan=False).encode("utf-8", "surrogatepass")


def test_as_a_structlog_processor() -> None:
    event = {"event": "login with hunter2", "token": "x", "exc_info": True}
    assert Redactor(["hunter2"])(None, "info", event) == {
        "event": f"login with {MASK}", "token": MASK, "exc_info": True,
    }  # fmt: skip
