"""Whatever is sent as an expression, a narrative or a resource: an answer or a refusal, never a defect."""

from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.fhirpath import EvaluationFailed, InvalidExpression, compile_expression
from fhir.model.json_codec import encode_json
from fhir.model.narrative import problems_of
from fhir.model.profiles import Library, check_profiles
from fhir.model.validation import validate
from fhir.model.validation.report import MAX_ISSUES
from tests.fhir_examples import EXAMPLES, example
from tests.unit.fhir_profiles.definitions import GUIDE, OBSERVATION, PATIENT, good_observation, good_patient

WORDS = [
    *("Patient", "name", "given", "value", "where(", "exists(", "first()", "descendants()", "resolve()"),
    *("(", ")", "[0]", ".", "|", "and", "or", "implies", "=", "~", "<=", "in", "is", "as", "ofType("),
    *("string", "+", "-", "/", "div", "&", "$this", "$index", "%resource", "%context", "'x'", "1.50"),
    *("@2020-01", "@T10:00", "{}", "true", "iif(", ",", "matches(", "4 'mg'", "1 year", "aggregate("),
    *("repeat(", "children()", "toString()", "substring("),
]
NAMES = [
    *("name", "given", "_given", "extension", "url", "id", "reference", "coding", "contained"),
    *("resourceType", "text", "div", "value", "valueQuantity", "start", "end", "type", "entry", "meta"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(words=st.lists(st.sampled_from(WORDS), max_size=14), name=st.sampled_from(EXAMPLES[:5]))
def test_an_expression_is_evaluated_or_refused(words: list[str], name: str) -> None:
    for text in ("".join(words), " ".join(words)):
        with suppress(InvalidExpression, EvaluationFailed):
            expression, resource = compile_expression(text, trusted=False), example(name)
            before = encode_json(resource)
            assert len(expression.evaluate(resource)) == len(expression.evaluate(resource))
            assert encode_json(resource) == before


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with suppress(InvalidExpression, EvaluationFailed):
        found = compile_expression(text, trusted=False).evaluate({"resourceType": "Patient"})
        assert isinstance(found, list)


@settings(deadline=None, max_examples=150)
@given(
    content=st.lists(
        st.sampled_from(
            [
                "<p>",
                "</p>",
                "<img src='",
                "'/>",
                "&",
                "&lt;",
                "<!--",
                "-->",
                "<![CDATA[",
                "]]>",
                "<?x",
                "?>",
                "<!DOCTYPE",
                ">",
                "\x00",
                "\ud800",
                "é",
                "x",
            ]
        ),
        max_size=12,
    )
)
def test_any_narrative_is_judged(content: list[str]) -> None:
    assert problems_of("".join(content))  # whatever is in it, it is no div
    div = '<div xmlns="http://www.w3.org/1999/xhtml">' + "".join(content) + "</div>"
    if not problems_of(div):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(div).iter()}
        assert tags <= {"div", "p", "img"}
        assert "<!DOCTYPE" not in div


@settings(deadline=None, max_examples=150)
@given(junk=JSON, name=st.sampled_from(EXAMPLES[:5]), at=st.integers(0, 30))
def test_any_json_in_a_resource_is_judged(junk: Any, name: str, at: int) -> None:
    resource = dict(example(name))
    names = list(resource)
    resource[names[at % len(names)]] = junk
    assert len(validate(resource, with_warnings=True)) <= MAX_ISSUES + 1


LIBRARY = Library(GUIDE)


@settings(deadline=None, max_examples=150)
@given(
    junk=JSON, name=st.sampled_from(sorted({*good_patient(), *good_observation(), "extension", "telecom"}))
)
def test_any_json_is_held_to_a_profile(junk: Any, name: str) -> None:
    for resource, profile in ((good_patient(), PATIENT), (good_observation(), OBSERVATION)):
        check_profiles({**resource, name: junk}, [profile["url"]], LIBRARY)
