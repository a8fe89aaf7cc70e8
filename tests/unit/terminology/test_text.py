"""Words of names (FHIR R4 valueset-operation-expand.html, `filter`)."""

import pytest

from terminology.text import begin_words, indexed, matches, words_of


@pytest.mark.parametrize(
    ("text", "terms", "found"),
    [
        ("oak", ["Cork oak"], True),
        ("OA co", ["Cork oak"], True),
        ("ork", ["Cork oak"], False),
        ("oak pine", ["Cork oak", "a pine"], True),
        ("oak pine", ["Cork oak"], False),
        ("eiche", ["Éiche"], True),
        ("élan", ["elan"], True),
        ("strasse", ["Straße"], True),
        ("2.0", ["v2.0 of it"], False),
        ("v2 0", ["v2.0 of it"], True),
        ("data_ex", ["data-exchange"], True),
        ("k o", ["Cork oak"], False),
        ("", ["Cork oak"], True),
        ("!", ["Cork oak"], True),
    ],
)
def test_words_begin_words(text: str, terms: list[str], found: bool) -> None:
    words = words_of(text)
    assert matches(words, terms) == begin_words(words, indexed(terms)) == found
