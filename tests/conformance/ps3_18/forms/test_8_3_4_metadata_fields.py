"""`includefield` on metadata: which attributes (PS3.18 8.3.4.3)."""

import orjson
import pytest

from dicomweb.retrieve.included import ALWAYS, MAX_FIELDS, TooManyFields, only_included, parse_include_fields

NAME, ROWS, REQUESTS = "00100010", "00280010", "00400275"


@pytest.mark.parametrize(
    ("values", "keys", "warned"),
    [
        pytest.param([], None, 0, id="not asked"),
        pytest.param([""], None, 0, id="empty"),
        pytest.param(["all"], None, 0, id="all"),
        pytest.param(["PatientName,all"], None, 0, id="all among others"),
        pytest.param(["PatientName"], {NAME}, 0, id="keyword"),
        pytest.param(["00100010,0028001a"], {NAME, "0028001A"}, 0, id="list of tags"),
        pytest.param(["PatientName", "Rows"], {NAME, ROWS}, 0, id="several parameters"),
        pytest.param(["RequestAttributesSequence.StudyInstanceUID"], {REQUESTS}, 0, id="sequence member"),
        pytest.param(["00400275.0020000D"], {REQUESTS}, 0, id="sequence member by tag"),
        pytest.param(["NoSuchThing,Rows"], {ROWS}, 1, id="unknown"),
        pytest.param(["00091001"], {"00091001"}, 0, id="private"),
    ],
)
def test_what_is_asked_for(values: list[str], keys: set[str] | None, warned: int) -> None:
    included = parse_include_fields(values)
    assert included.keys == (None if keys is None else ALWAYS | keys)
    assert len(included.warnings) == warned
    assert "NoSuchThing" not in "".join(included.warnings)  # a header field quotes no client


def test_too_many() -> None:
    with pytest.raises(TooManyFields):
        parse_include_fields([",".join(["Rows"] * (MAX_FIELDS + 1))])


def test_the_rest_is_left_out_and_nothing_is_changed() -> None:
    instance, slope = b'"00080018":{"vr":"UI","Value":["1.2"]}', b'"00281053":{"vr":"DS","Value":[1.0]}'
    page = b'[{%b,"00100010":{"vr":"PN"},%b},{}]' % (instance, slope)
    kept = only_included(page, parse_include_fields(["RescaleSlope"]))
    assert kept == b"[{%b,%b},{}]" % (instance, slope)
    assert only_included(page, parse_include_fields([])) is page
    assert orjson.loads(only_included(b"[]", parse_include_fields(["Rows"]))) == []
