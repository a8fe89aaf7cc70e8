"""Names as they sound: what fuzzy matching compares (PS3.18 8.3.4.2, PS3.4 C.2.2.2.1.1). Pure.

A name is its words, in any order. A word has its folded letters and its sound: of Latin letters the Soundex
of the US National Archives, with initials that sound alike made one; of anything else the word itself, in
Hiragana where it is Katakana. So `Smyth` finds `Smith`, `Catherina` finds `Katharina`, `ヤマダ` finds
`やまだ`.
"""

import re
from collections.abc import Mapping

SOUND_LENGTH = 4

# Letters that have no decomposition into a plain one and an accent.
_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "ı": "i",
        **dict.fromkeys("'’‘´`ʼ", ""),
    }
)
_HIRAGANA = str.maketrans({chr(c): chr(c - 0x60) for c in range(0x30A1, 0x30F7)})
_BETWEEN_WORDS = re.compile(r"[\s^=,.;:/()\u2010-\u2015\u30fb·-]+")
_INITIALS = (("ph", "f"), ("kn", "n"), ("wr", "r"), ("c", "k"), ("q", "k"), ("w", "v"), ("y", "i"))
_CODES: Mapping[str, str] = {
    **dict.fromkeys("bfpv", "1"),
    **dict.fromkeys("cgjkqsxz", "2"),
    **dict.fromkeys("dt", "3"),
    "l": "4",
    **dict.fromkeys("mn", "5"),
    "r": "6",
}
_SILENT = "hw"  # between two letters of one code they do not part them; vowels do


def words_of(folded_name: str) -> list[str]:
    """The words of a name that is folded already (`dicomweb.normal_forms.fold`), each once, in order."""
    plain = folded_name.translate(_LETTERS).translate(_HIRAGANA)
    return list(dict.fromkeys(filter(None, _BETWEEN_WORDS.split(plain))))


def sound_of(word: str) -> str:
    """How a word of `words_of` sounds: `smith` and `schmidt` are both `s530`."""
    if not (word.isascii() and word.isalpha()):
        return word
    for written, heard in _INITIALS:
        if word.startswith(written):
            word = heard + word[len(written) :]
            break
    return _soundex(word)


def _soundex(word: str) -> str:
    """First letter and three digits, https://www.archives.gov/research/census/soundex."""
    digits: list[str] = []
    last = _CODES.get(word[0], "")
    for letter in word[1:]:
        if letter in _SILENT:
            continue
        code = _CODES.get(letter, "")
        if code and code != last:
            digits.append(code)
        last = code
    return (word[0] + "".join(digits)).ljust(SOUND_LENGTH, "0")[:SOUND_LENGTH]
