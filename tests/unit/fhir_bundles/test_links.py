"""Links are rewritten where R4 says they are, and nothing else of the text changes."""

import json
from typing import Any

import pytest

from fhir.bundles.full_urls import Named, Names, UnknownVersion, base_of
from fhir.bundles.links import references_of, rewrite_links
from fhir.bundles.places import Link, places_of
from fhir.model.json_codec import decode_json

U = "urn:uuid:0c3201bd-1cbf-4d64-b04d-cd9187a4c6e0"
NAMES = Names({U: Named("Patient/1", True)}, {"Patient?identifier=a|b": "Patient/2"})


def rewritten(text: str, names: Names = NAMES, base: str | None = None) -> str:
    marked = rewrite_links(text.encode(), lambda kind, link: names.rewrite(kind, link, base), names.marks)
    walked = rewrite_links(text.encode(), lambda kind, link: names.rewrite(kind, link, base), None)
    assert decode_json(marked) == decode_json(walked)  # the short way says what the long one says
    return marked.decode()


def resource(**elements: Any) -> str:
    return json.dumps({"resourceType": "Observation", **elements})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('{"reference" :  "%s"}', '{"reference" :  "Patient/1"}', id="as it was set"),
        pytest.param('{"reference":"%s#a"}', '{"reference":"Patient/1#a"}', id="with a fragment"),
        pytest.param('{"reference":"%s/_history/4"}', '{"reference":"Patient/1/_history/1"}', id="a version"),
        pytest.param('{"reference":"%s1"}', '{"reference":"%s1"}', id="longer than the name"),
        pytest.param('{"display":"%s"}', '{"display":"%s"}', id="a text"),
        pytest.param('{"type":"%s"}', '{"type":"Patient/1"}', id="a uri"),
        pytest.param(
            '{"reference":"%s","display":"%s"}',
            '{"reference":"Patient/1","display":"%s"}',
            id="beside a text",
        ),
        pytest.param(
            '{"reference":"Patient?identifier=a|b"}',
            '{"reference":"Patient/2"}',
            id="a conditional reference",
        ),
        pytest.param('{"refer\\u0065nce":"%s"}', '{"reference":"Patient/1"}', id="an escaped name"),
        pytest.param('{"reference":"urn:\\u0075uid:%s"}', '{"reference":"Patient/1"}', id="an escaped link"),
        pytest.param('{"display":"a \\"%s"}', '{"display":"a \\"%s"}', id="behind a quote within a text"),
    ],
)
def test_a_reference(before: str, after: str) -> None:
    frame = '{"resourceType":"Observation","subject":%s,"valueQuantity":{"value":1.00}}'
    urn = U.removeprefix("urn:uuid:") if "\\u0075" in before else U
    said = rewritten(frame % before.replace("%s", urn))
    assert decode_json(said.encode()) == decode_json((frame % after.replace("%s", U)).encode())
    assert '"value":1.00' in said
    if "\\u" not in before and "display" not in before and "type" not in before:
        assert said == frame % after.replace("%s", U)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_narrative(quote: str) -> None:
    div = f"<div><a href={quote}{U}{quote}>{U}</a><img src = {quote}{U}#x{quote}/></div>"
    said = json.loads(rewritten(resource(text={"status": "generated", "div": div})))
    link = f"{quote}Patient/1"
    assert said["text"]["div"] == f"<div><a href={link}{quote}>{U}</a><img src = {link}#x{quote}/></div>"


def test_what_is_contained_or_in_an_extension_links_too() -> None:
    text = resource(
        contained=[{"resourceType": "Provenance", "target": [{"reference": U}]}],
        extension=[{"url": "http://x", "valueReference": {"reference": U}}],
        _status={"extension": [{"url": "http://x", "valueUrl": U}]},
    )
    assert U not in rewritten(text)


def test_canonicals_do_not_link() -> None:
    text = json.dumps({"resourceType": "Task", "instantiatesCanonical": U, "instantiatesUri": U})
    said = json.loads(rewritten(text))
    assert (said["instantiatesCanonical"], said["instantiatesUri"]) == (U, "Patient/1")


def test_relative_references_are_relative_to_their_own_place() -> None:
    names = Names({"http://a/fhir/Patient/7": Named("Patient/1", True)}, {})
    text = resource(subject={"reference": "Patient/7"}, instantiatesUri="Patient/7")
    said = json.loads(rewritten(text, names, "http://a/fhir"))
    assert (said["subject"]["reference"], said["instantiatesUri"]) == ("Patient/1", "Patient/7")
    assert rewritten(text, names, "http://b/fhir") == text
    assert rewritten(text, names) == text


def test_a_version_of_what_is_updated_cannot_be_told() -> None:
    names = Names({U: Named("Patient/1", False)}, {})
    with pytest.raises(UnknownVersion):
        names.rewrite(Link.REFERENCE, f"{U}/_history/2", None)


@pytest.mark.parametrize(
    ("full_url", "base"),
    [
        ("http://a/fhir/Patient/1", "http://a/fhir"),
        ("https://a/x/y/Patient/1/_history/2", "https://a/x/y"),
        (U, None),
        ("http://a/fhir", None),
        (None, None),
    ],
)
def test_the_base_of_a_full_url(full_url: str | None, base: str | None) -> None:
    assert base_of(full_url) == base


def test_references_are_found_in_any_spelling() -> None:
    text = '{"resourceType":"Basic","subject":{"reference":"a"},"author":{"refer\\u0065nce":"b\\"c"}}'
    assert sorted(references_of(text.encode())) == ["a", 'b"c']
    assert references_of(b'{"subject":{"reference":"a"}}') == ["a"]


def test_places_follow_content_references() -> None:
    assert places_of("Questionnaire", "item")["item"] == ("Questionnaire", "item")
    assert places_of("Reference")["reference"] is Link.REFERENCE
    assert "status" not in places_of("Observation")


def test_the_url_of_a_definition_stays() -> None:
    """It is its name everywhere, also where its entry's fullUrl is the same."""
    url = "http://example.org/fhir/ValueSet/colours"
    names = Names({url: Named("ValueSet/1", True)}, {})
    text = json.dumps({"resourceType": "ValueSet", "url": url, "status": "draft"})
    assert rewritten(text, names) == text
    link = json.dumps({"resourceType": "Basic", "subject": {"reference": url}})
    assert json.loads(rewritten(link, names))["subject"]["reference"] == "ValueSet/1"


def test_a_link_that_becomes_what_another_was() -> None:
    """In one pass over the text, which stays as it was otherwise."""
    first, second = "http://a/fhir/Patient/1", "http://b/fhir/Patient/2"
    names = Names({first: Named("Patient/2", True), "http://a/fhir/Patient/2": Named("Patient/9", True)}, {})
    text = '{"resourceType": "List",  "note": [{"text": "\\u00e4"}], "entry": [{"item": {"reference": "%s"}},'
    text += ' {"item": {"reference": "%s"}}, {"item": {"reference": "%s"}}]}'
    said = rewritten(text % (first, "Patient/2", second), names, "http://a/fhir")
    assert said == text % ("Patient/2", "Patient/9", second)


def test_many_kinds_of_names_are_not_each_searched_for() -> None:
    many = Names({f"urn:x{n}:1": Named("Patient/1", True) for n in range(9)}, {})
    assert many.marks is None
    assert NAMES.marks == (b"urn:uuid:",)
