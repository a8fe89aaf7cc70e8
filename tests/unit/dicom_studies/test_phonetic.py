"""Words of names and how they sound (PS3.18 8.3.4.2; the vectors are those of the US National Archives)."""

import pytest

from dicomweb.normal_forms import fold
from dicomweb.phonetic import sound_of, words_of
from dicomweb.search.conditions import MAX_FUZZY_WORDS, FuzzyName, InvalidQuery, Name, Text, made_fuzzy


@pytest.mark.parametrize(
    ("word", "sound"),
    [
        ("robert", "r163"),
        ("rupert", "r163"),
        ("rubin", "r150"),
        ("ashcraft", "a261"),
        ("tymczak", "t522"),
        ("honeyman", "h555"),
        ("lee", "l000"),
        ("smith", "s530"),
        ("smiht", "s530"),
        ("schmidt", "s530"),
        ("catherine", "k365"),
        ("katharina", "k365"),
        ("philipp", "f410"),
        ("山田", "山田"),
        ("иванов", "иванов"),
        ("3rd", "3rd"),
    ],
)
def test_sound(word: str, sound: str) -> None:
    assert sound_of(word) == sound


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Müller-Lüdenscheidt^Jörg^^Dr.", ["muller", "ludenscheidt", "jorg", "dr"]),
        ("O'Brien^Søren Æ", ["obrien", "soren", "ae"]),
        ("Łukasz^Weiß", ["lukasz", "weiss"]),
        ("ヤマダ^タロウ", ["やまだ", "たろう"]),
        ("ﾔﾏﾀﾞ", ["やまだ"]),
        ("Doe^Doe", ["doe"]),
        ("^^", []),
        ("हिन्दी", ["हिन्दी"]),
    ],
)
def test_words(name: str, words: list[str]) -> None:
    assert words_of(fold(name)) == words


def literal(value: str) -> Name:
    return Name(tuple(Text(fold(group)) for group in value.split("=")))


def test_words_of_a_query_leave_the_wildcards_at_their_ends() -> None:
    assert made_fuzzy(literal("*Smi*^J*")) == FuzzyName(literal("*Smi*^J*"), (("smi", "s500"), ("j", "j000")))


@pytest.mark.parametrize("value", ["Sm?th", "S*h^Jane", "*", "^"])
def test_a_wildcard_within_a_word_is_matched_literally(value: str) -> None:
    assert made_fuzzy(literal(value)) == literal(value)


def test_too_many_words() -> None:
    with pytest.raises(InvalidQuery):
        made_fuzzy(literal(" ".join(f"a{n}" for n in range(MAX_FUZZY_WORDS + 1))))
