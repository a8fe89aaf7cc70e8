"""Identifiers of SNOMED CT (Release File Specifications §3.1, and the checks of §3.1.5)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminology.sctid import Component, check_digit, why_invalid

digits = st.from_regex(r"\A[1-9][0-9]{4,16}\Z")


@pytest.mark.parametrize(
    ("text", "component", "wrong"),
    [
        # Identifiers of SNOMED CT's own metadata, which every release has and ECL's keywords stand for.
        pytest.param("900000000000003001", Component.CONCEPT, None, id="long"),
        pytest.param("1186924009", Component.CONCEPT, None, id="short"),
        pytest.param("32570271000036106", Component.CONCEPT, None, id="with a namespace"),
        pytest.param("900000000000003002", Component.CONCEPT, "check digit", id="another last digit"),
        pytest.param("900000000000030001", Component.CONCEPT, "check digit", id="two exchanged"),
        pytest.param("900000000000003001", Component.DESCRIPTION, "description", id="another component"),
        pytest.param("12345", Component.CONCEPT, "digits", id="short of a digit"),
        pytest.param("1234567890123456789", Component.CONCEPT, "digits", id="a digit too many"),
        pytest.param("0123456", Component.CONCEPT, "digits", id="begins with 0"),
        pytest.param("A23456", Component.CONCEPT, "digits", id="a letter"),
    ],
)
def test_3_1_identifiers(text: str, component: Component, wrong: str | None) -> None:
    found = why_invalid(text, component)
    assert found is None if wrong is None else found is not None and wrong in found


@given(digits, st.data())
@settings(deadline=None)
def test_3_1_5_a_changed_digit_and_exchanged_neighbours_are_found(head: str, data: st.DataObject) -> None:
    text = head[:-2] + "00"
    text += check_digit(text)
    assert why_invalid(text) is None
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([each for each in "123456789" if each != text[at]]))
    assert why_invalid(text[:at] + other + text[at + 1 :]) is not None
    at = data.draw(st.integers(1, len(text) - 2))
    if text[at] != text[at + 1]:
        assert why_invalid(text[:at] + text[at + 1] + text[at] + text[at + 2 :]) is not None
