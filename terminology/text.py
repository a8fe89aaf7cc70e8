"""Words of names, as a text filter compares them (FHIR R4 valueset-operation-expand.html, `filter`)."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+")
MAX_WORDS = 20  # of one filter


def words_of(text: str) -> Sequence[str]:
    """The words of a text, without case and accents."""
    if text.isascii():
        return _WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in folded if not unicodedata.combining(c)))


def matches(wanted: Sequence[str], terms: Iterable[str]) -> bool:
    """Whether each word that is wanted begins a word of one of the terms."""
    joined = "\n".join(terms)
    if joined.isascii():  # most are not like this at all: no word has to be cut out to see that
        lower = joined.lower()
        if not all(each in lower for each in wanted):
            return False
    found = set(words_of(joined))
    return all(any(word.startswith(each) for word in found) for each in wanted)


def indexed(terms: Iterable[str]) -> str:
    """The words of terms as `begin_words` looks through them: for what is asked again and again."""
    return "\n" + "\n".join(words_of("\n".join(terms)))


def begin_words(wanted: Sequence[str], index: str) -> bool:
    """Whether each word that is wanted begins one of the indexed words: as `matches`, sooner."""
    return all("\n" + each in index for each in wanted)
