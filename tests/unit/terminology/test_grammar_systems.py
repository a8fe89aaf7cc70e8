"""Code systems whose codes a grammar tells: languages, media types, URIs, and countries that users assign."""

import pytest

from terminology.canonical import Canonical
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.code_systems import GrammarSystems
from terminology.code_systems.grammar import MAX_NAMED_CODES
from terminology.issues import InvalidFilter, TooCostly
from terminology.library import Kind, Library
from terminology.shipped import shipped

LIBRARY = Library([GrammarSystems(), shipped()])
LANGUAGES = "urn:ietf:bcp:47"
MEDIA_TYPES = "urn:ietf:bcp:13"
URIS = "urn:ietf:rfc:3986"
COUNTRIES = "urn:iso:std:iso:3166"


async def opened(url: str):
    edition = await LIBRARY.find(Kind.CODE_SYSTEM, Canonical(url))
    assert edition is not None, url
    assert edition.content == "complete"
    return await edition.open()


async def test_they_are_listed() -> None:
    found = {each.url: each.version for each in await GrammarSystems().listing(Kind.CODE_SYSTEM)}
    assert found == {
        "http://unitsofmeasure.org": "2.2",
        LANGUAGES: "2025-08-25",
        MEDIA_TYPES: None,
        URIS: None,
    }
    assert await GrammarSystems().listing(Kind.VALUE_SET) == []
    assert await GrammarSystems().editions(Kind.VALUE_SET, LANGUAGES) == []
    assert list(await GrammarSystems().supplements(LANGUAGES)) == []


@pytest.mark.parametrize(
    ("tag", "code", "display"),
    [
        ("en", "en", "English"),
        ("EN-us", "en-US", "English (United States)"),
        ("zh-hant-tw", "zh-Hant-TW", "Chinese (Han (Traditional variant), Taiwan, Province of China)"),
        ("zh-yue", "zh-yue", "Chinese (Yue Chinese)"),
        ("es-419", "es-419", "Spanish (Latin America and the Caribbean)"),
        ("sl-rozaj-biske", "sl-rozaj-biske", "Slovenian (Resian, The San Giorgio dialect of Resian)"),
        ("de-CH-1901", "de-CH-1901", "German (Switzerland, Traditional German orthography)"),
        ("de-a-value-x-own", "de-a-value-x-own", "German (a-value, x-own)"),
        ("x-own-thing", "x-own-thing", "Private use"),
        ("qaa-Qaaa-QM", "qaa-Qaaa-QM", "Private use (Private use, Private use)"),
        ("i-KLINGON", "i-klingon", "Klingon"),
        ("en-gb-oed", "en-GB-oed", "English, Oxford English Dictionary spelling"),
    ],
)
async def test_a_language_tag(tag: str, code: str, display: str) -> None:
    """RFC 5646 §2.1 and §2.2, its examples (Appendix A)."""
    concept = await (await opened(LANGUAGES)).locate(tag)
    assert (concept.code, concept.display) == (code, display)


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param("", id="empty"),
        pytest.param("e", id="too short"),
        pytest.param("xx", id="not registered"),
        pytest.param("qb", id="two letters amid those of three for private use"),
        pytest.param("abcd", id="reserved, §2.2.1"),
        pytest.param("english", id="a word"),
        pytest.param("en_US", id="an underscore"),
        pytest.param("en-", id="an end without a subtag"),
        pytest.param("en-US-", id="an end behind a region"),
        pytest.param("en-Xyzz", id="a script that is not registered"),
        pytest.param("en-XJQ", id="an extended language that is not registered"),
        pytest.param("de-cmn", id="an extended language of another, §2.2.2"),
        pytest.param("zh-cmn-yue", id="two extended languages"),
        pytest.param("en-US-GB", id="two regions"),
        pytest.param("en-abcde", id="a variant that is not registered"),
        pytest.param("de-1996-1996", id="a variant twice, §2.2.5"),
        pytest.param("en-a-bb-a-cc", id="an extension twice, §2.2.6"),
        pytest.param("en-a", id="an extension without a value"),
        pytest.param("x-", id="private use without a value"),
        pytest.param("x-toolongsubtag", id="a subtag of more than 8"),
        pytest.param("ｅｎ", id="wide letters"),
        pytest.param("en-x" + "-a" * 60, id="more than 100 characters"),
        pytest.param("en\n", id="a line's end"),
    ],
)
async def test_what_is_no_language_tag(tag: str) -> None:
    assert await (await opened(LANGUAGES)).locate(tag) is None


async def test_a_deprecated_subtag_makes_a_tag_deprecated() -> None:
    hebrew = await (await opened(LANGUAGES)).locate("iw-IL")
    assert (hebrew.display, hebrew.inactive, hebrew.status) == ("Hebrew (Israel)", False, "deprecated")
    assert (await (await opened(LANGUAGES)).locate("he-IL")).status is None


async def test_the_parts_of_a_tag_are_named_in_a_designation() -> None:
    (name,) = (await (await opened(LANGUAGES)).locate("sr-Latn-RS")).designations
    assert (name.value, name.language) == ("Serbian (Script=Latin, Region=Serbia)", "en")


@pytest.mark.parametrize(
    ("name", "operator", "value", "let_through", "kept_out"),
    [
        ("language", "=", "de", ["de", "de-CH"], ["en"]),
        ("region", "exists", "false", ["de", "zh-Hant"], ["de-CH"]),
        ("region", "in", "CH,AT", ["de-CH", "it-CH"], ["de-DE", "de"]),
        ("script", "exists", "true", ["zh-Hant"], ["zh"]),
        ("variant", "=", "1996", ["de-1996", "de-CH-1996"], ["de-1901"]),
        ("extlang", "=", "yue", ["zh-yue"], ["yue"]),
        ("private-use", "exists", "true", ["x-own", "de-x-own"], ["de"]),
        ("extension", "regex", "u-.*", ["de-u-co-phonebk"], ["de-t-en"]),
    ],
)
async def test_filters_on_languages(
    name: str, operator: str, value: str, let_through: list[str], kept_out: list[str]
) -> None:
    asked = Filter(name, FilterOperator(operator), value)
    system = await opened(LANGUAGES)
    found = [code for code in (*let_through, *kept_out) if await system.lets_through(code, (asked,))]
    assert found == let_through


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("text/plain", "text/plain"),
        ("Text/HTML; charset=UTF-8", "text/html; charset=UTF-8"),
        ("application/fhir+json; fhirVersion=4.0", "application/fhir+json; fhirVersion=4.0"),
        (
            'multipart/related; type="application/dicom"; a=b',
            'multipart/related; type="application/dicom"; a=b',
        ),
        ('a/b; c="d\\"e"', 'a/b; c="d\\"e"'),
        ("image/svg+xml", "image/svg+xml"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", None),
    ],
)
async def test_a_media_type(code: str, written: str | None) -> None:
    """RFC 6838 §4.2, RFC 2045 §5.1."""
    concept = await (await opened(MEDIA_TYPES)).locate(code)
    assert concept.code == concept.display == (written or code)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain/more",
        "text/*",
        "text /plain",
        "text/plain;",
        "text/plain; charset",
        "text/plain; charset=",
        'text/plain; charset="open',
        "text/plain\n",
        "té/plain",
        "a/" + "b" * 128,
        "a/b" + "; c=d" * 100,
    ],
)
async def test_what_is_no_media_type(code: str) -> None:
    assert await (await opened(MEDIA_TYPES)).locate(code) is None


async def test_filters_on_media_types() -> None:
    system = await opened(MEDIA_TYPES)
    image = Filter("type", FilterOperator.EQUALS, "image")
    assert await system.lets_through("image/png", (image,))
    assert not await system.lets_through("text/plain", (image,))


@pytest.mark.parametrize(
    ("code", "display"),
    [
        ("http://example.org/a?b=c#d", "http://example.org/a?b=c#d"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("urn:oid:1.2.840.10008.5.1.4.1.1.2", "CT Image Storage"),
        ("mailto:a@b.c", "mailto:a@b.c"),
        ("example", None),
        ("//example.org/a", None),
        ("http://a b", None),
        ("http://%zz", None),
        ("http://a#b#c", None),
        ("1http://a", None),
        ("http:", None),
        ("http://" + "a" * 2_000, None),
    ],
)
async def test_a_uri(code: str, display: str | None) -> None:
    """RFC 3986 §4.3."""
    concept = await (await opened(URIS)).locate(code)
    assert (concept and concept.display) == display


@pytest.mark.parametrize("url", [LANGUAGES, MEDIA_TYPES, URIS])
async def test_a_grammar_has_no_list(url: str) -> None:
    with pytest.raises(TooCostly, match="without number"):
        await (await opened(url)).select(Selection())


async def test_a_filter_names_not_too_many_codes() -> None:
    many = Filter("code", FilterOperator.IN, ",".join(f"x-{n}" for n in range(MAX_NAMED_CODES + 1)))
    with pytest.raises(TooCostly, match="at most 1000"):
        await (await opened(LANGUAGES)).select(Selection((many,)))


async def test_an_unknown_property_is_refused() -> None:
    with pytest.raises(InvalidFilter, match="colour"):
        await (await opened(LANGUAGES)).select(Selection((Filter("colour", FilterOperator.EQUALS, "x"),)))


@pytest.mark.parametrize(
    ("code", "display"),
    [
        ("XY", "User-assigned"),
        ("QM", "User-assigned"),
        ("ZZZ", "User-assigned"),
        ("900", "User-assigned"),
        ("AA", "User-assigned"),
        ("QA", "Qatar"),
        ("AB", None),
        ("899", None),
        ("XYZZ", None),
        ("xy", None),
    ],
)
async def test_countries_that_users_assign(code: str, display: str | None) -> None:
    """ISO 3166-1 §8.1.3: valid, and in no expansion."""
    countries = await opened(COUNTRIES)
    concept = await countries.locate(code)
    assert (concept and concept.display) == display
    assert (code in await countries.locate_all([code])) == (display is not None)
    letters = Filter("code", FilterOperator.REGEX, "[A-Z]{3}")
    assert await countries.lets_through(code, (letters,)) == (display is not None and code == "ZZZ")


async def test_expansions_of_countries_have_those_assigned_by_iso() -> None:
    countries = await opened(COUNTRIES)
    for pattern in ("[A-Z]{2}", "[A-Z]{3}", "[0-9]{3}"):
        asked = Filter("code", FilterOperator.REGEX, pattern)
        assert (await countries.select(Selection((asked,)))).total == 249
