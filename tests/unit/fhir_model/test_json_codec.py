"""FHIR JSON is read and written exactly, and what is ambiguous is refused."""

from decimal import Decimal

import pytest

from fhir.model.json_codec import MAX_DEPTH, InvalidJson, decode_json, encode_json


@pytest.mark.parametrize(
    "number", ["1.00", "0.50", "1E-22", "-0.0", "100", "0", "123456789012345678901234567890", "-1.5E+245"]
)
def test_a_number_keeps_its_precision(number: str) -> None:
    data = f'{{"v":{number}}}'.encode()
    assert encode_json(decode_json(data)) == data


def test_numbers_are_int_or_decimal() -> None:
    assert decode_json(b'{"a":1,"b":1.0}') == {"a": 1, "b": Decimal("1.0")}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"a":1', id="cut off"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":Infinity}', id="infinity"),
        pytest.param(b'{"a":01}', id="leading zero"),
        pytest.param(b'{"a":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="surrogate as bytes"),
        pytest.param(b'{"a":"\\ud800"}', id="lone high surrogate"),
        pytest.param(b'{"a":"\\ude00x"}', id="lone low surrogate"),
        pytest.param(b'{"a":"\\u0000"}', id="NUL"),
        pytest.param(b'{"a\\u0000":1}', id="NUL in a name"),
        pytest.param(b'{"a":1,"a":2}', id="name twice"),
        pytest.param(b'{"x":[{"a":1,"a":1}]}', id="name twice, deeper"),
        pytest.param(b'{"a":1,"a":"\\u003a"}', id="name twice, colon escaped"),
        pytest.param(b'{"a":1,"a":":"}', id="name twice, colon in the value"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="name twice, escaped"),
        pytest.param(b'{"a":' + b"1" * 400 + b"}", id="long integer"),
        pytest.param(b'{"a":' + b"1" * 6000 + b"}", id="very long integer"),
        pytest.param(b'{"a":0.' + b"1" * 400 + b"}", id="long decimal"),
        pytest.param(b'{"a":1e400}', id="large exponent"),
        pytest.param(b'{"a":1e99999999999999999999}', id="exponent beyond Decimal's"),
        pytest.param(b'{"a":1e-99999999999999999999}', id="negative exponent beyond Decimal's"),
        pytest.param(b'{"a":1e-999999999}', id="small exponent"),
        pytest.param(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", id="one too deep"),
        pytest.param(b'{"a":' * 100_000, id="far too deep"),
    ],
)
def test_what_is_not_acceptable_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        decode_json(data)


def test_the_deepest_allowed_nesting_is_read() -> None:
    deepest = MAX_DEPTH - 1
    decode_json(b'{"a":' + b"[" * deepest + b"]" * deepest + b"}")


@pytest.mark.parametrize("text", ["\\u0041", "\\\\u0000", "a:b", "\\u003a", "\\ud83d\\ude00"])
def test_harmless_escapes_are_read(text: str) -> None:
    assert set(decode_json(f'{{"a":"{text}"}}'.encode())) == {"a"}


def test_the_message_says_where_and_not_what() -> None:
    with pytest.raises(InvalidJson, match=r"byte 1\d") as refusal:
        decode_json(b'{"family":"Doe",]')
    assert "Doe" not in str(refusal.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_cannot_say_is_not_written(number: str) -> None:
    with pytest.raises(ValueError, match="NaN"):
        encode_json({"a": [Decimal(number)]})


def test_the_word_nan_in_a_string_is_written() -> None:
    assert encode_json({"a": "NaN"}) == b'{"a":"NaN"}'
