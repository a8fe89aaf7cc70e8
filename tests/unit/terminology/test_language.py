"""Which languages are wanted, and which name is shown (RFC 4647, RFC 9110 §12.5.4)."""

from collections.abc import Sequence

import pytest

from terminology.concept import STANDARDS_STATUS, Designation
from terminology.language import (
    MAX_RANGES,
    InvalidLanguage,
    choose_name,
    fit,
    languages_wanted,
    parse_languages,
)


@pytest.mark.parametrize(
    ("text", "tags", "others", "told"),
    [
        ("de", ["de"], None, "de"),
        ("de, *", ["de", "*"], True, "de,*"),
        ("de,*;q=0", ["de", "*"], False, "de, *; q=0"),
        ("fr;q=0.5,de-CH , en;q=0.7", ["de-CH", "en", "fr"], None, "fr; q=0.5, de-CH, en; q=0.7"),
        ("de,", ["de"], None, "de"),
    ],
)
def test_ranges_are_ordered_by_weight(text: str, tags: list[str], others: bool | None, told: str) -> None:
    languages = parse_languages(text)
    assert [each.tag for each in languages.ranges] == tags
    assert (languages.others, languages.text) == (others, told)


@pytest.mark.parametrize("text", ["-", "", ",", "de;q=2", "de;x=1", "d€", "a" * 9, ",".join(["de"] * 41)])
def test_what_is_no_list_of_ranges_is_refused(text: str) -> None:
    assert MAX_RANGES < 41
    with pytest.raises(InvalidLanguage):
        parse_languages(text)


@pytest.mark.parametrize(
    ("wanted", "language", "how"),
    [
        ("de", "de", 0),
        ("DE", "de", 0),
        ("de", "de-CH", 1),
        ("de-CH", "de", 2),
        ("de", "den", None),
        ("de-CH", "de-AT", None),
    ],
)
def test_a_language_fits_a_range(wanted: str, language: str, how: int | None) -> None:
    assert fit(wanted, language) == how


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (("de", "it", "es", "zh"), "de"),
        ((None, "it", "es", "zh"), "it"),
        ((None, None, "es", "zh"), "es"),
        ((None, None, None, "zh"), "zh"),
        ((None, None, "not a list", "zh"), "zh"),
    ],
)
def test_the_first_that_is_said_counts(said: tuple[str | None, ...], wanted: str) -> None:
    languages = languages_wanted(*said)
    assert languages is not None
    assert languages.text == wanted


def test_nothing_said_is_nothing_wanted() -> None:
    assert languages_wanted(None, None, None) is None


MAIN = Designation("Display", "en")
ANZEIGE = Designation("Anzeige", "de")
SWISS = Designation("Anzeig", "de-CH")
PREFERRED = Designation("Die Anzeige", "de", {"code": "preferredForLanguage"})
FULL = Designation("Anzeige (Befund)", "de", {"code": "900000000000003001"})
OLD = Designation(
    "Anzeyge", "de", {"code": "preferredForLanguage"}, ({"url": STANDARDS_STATUS, "valueCode": "withdrawn"},)
)
UNSTATED = Designation("Mark")


@pytest.mark.parametrize(
    ("main", "others", "wanted", "shown"),
    [
        pytest.param(MAIN, [ANZEIGE], None, "Display", id="nothing is said"),
        pytest.param(MAIN, [ANZEIGE], "de", "Anzeige", id="there is one"),
        pytest.param(MAIN, [SWISS], "de", "Anzeig", id="a kind of it"),
        pytest.param(MAIN, [SWISS, ANZEIGE], "de", "Anzeige", id="the same goes before"),
        pytest.param(MAIN, [ANZEIGE], "de-AT", "Anzeige", id="what it is a kind of"),
        pytest.param(MAIN, [FULL, PREFERRED, ANZEIGE], "de", "Die Anzeige", id="the preferred"),
        pytest.param(MAIN, [FULL, ANZEIGE], "de", "Anzeige", id="a full name comes last"),
        pytest.param(MAIN, [OLD, FULL], "de", "Anzeige (Befund)", id="an old one later still"),
        pytest.param(MAIN, [Designation("Show", "en")], "en", "Display", id="the main name goes before"),
        pytest.param(MAIN, [ANZEIGE], "fr", "Display", id="others will do where nothing is said"),
        pytest.param(MAIN, [ANZEIGE], "fr,*;q=0", None, id="others will not do"),
        pytest.param(MAIN, [ANZEIGE], "fr,de;q=0.1", "Anzeige", id="the second choice"),
        pytest.param(MAIN, [ANZEIGE], "fr,en;q=0", None, id="that one will not do"),
        pytest.param(UNSTATED, [], "fr,*;q=0", "Mark", id="nobody says its language"),
        pytest.param(None, [ANZEIGE], "fr,*", "Anzeige", id="no main name"),
    ],
)
def test_the_name_that_is_shown(
    main: Designation | None, others: Sequence[Designation], wanted: str | None, shown: str | None
) -> None:
    name = choose_name(main, others, parse_languages(wanted) if wanted else None)
    assert (name and name.value) == shown
