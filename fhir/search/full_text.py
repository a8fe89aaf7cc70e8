"""`_text` and `_content`: words of the narrative, and of the whole resource (FHIR R4 search.html#content).

Words are compared without case and accents. What is asked is words that must all occur, "several words" that
must follow each other, `OR` between alternatives, a `-` before what must not occur. Both databases have an
index of their own for it, over the same table; they differ in how the question is written.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Select, column, func, literal_column, select, table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from fhir.search.path import Json
from fhir.search.string import fold
from fhir.search.value import InvalidSearch, Term
from fhir.tables import SearchText
from server.kernel.rows import table_of

TEXT = table_of(SearchText)
COLUMN_OF = {"_text": "narrative", "_content": "content"}

MAX_CHARACTERS = 50_000  # of the words of one resource; PostgreSQL indexes 1 MB, positions up to 16,383
MAX_WORDS = 50  # of one question

_WORD = re.compile(r"\w+")
_PART = re.compile(r'(?P<not>-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
_TAG = re.compile(r"<[^>]*>|&\w+;")
# Elements whose strings name something for machines; what a person reads is in the others.
_UNREAD = frozenset({"data", "hash", "id", "lastUpdated", "reference", "resourceType", "system", "url"})

_WORDS = table("fhir_search_words", column("rowid"))  # SQLite's index of TEXT


def text_row(resource: Json) -> dict[str, str] | None:
    """The columns of `SearchText`; None: the resource has no words."""
    div = (resource.get("text") or {}).get("div") or ""
    narrative = _words(_TAG.sub(" ", div)) if div else ""
    content = _words(" ".join(_strings(resource)))
    return {"narrative": narrative, "content": f"{narrative} {content}".strip()} if content else None


def _words(text: str) -> str:
    return " ".join(_WORD.findall(fold(text[:MAX_CHARACTERS])))


def _strings(node: Json) -> Iterator[str]:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if type(current) is dict:
            for name, child in current.items():
                if type(child) is str:
                    if name not in _UNREAD and name != "div":
                        yield child
                else:
                    waiting.append(child)
        elif type(current) is list:
            for child in current:
                if type(child) is str:
                    yield child
                else:
                    waiting.append(child)


@dataclass(frozen=True, slots=True)
class Words:
    """Words that follow each other, or that must not occur."""

    words: tuple[str, ...]
    excluded: bool = False


def read_words(code: str, text: str) -> Term:
    """The question as both databases write it: for SQLite's FTS5, for PostgreSQL's to_tsquery.

    Raises:
        InvalidSearch: no word that must occur, or too many.
    """
    alternatives = [list(_parts(part)) for part in re.split(r"\s+OR\s+", text.strip())]
    count = sum(len(each.words) for parts in alternatives for each in parts)
    if count > MAX_WORDS:
        raise InvalidSearch(f"'{code}' has more than {MAX_WORDS} words.")
    if not all(any(not each.excluded for each in parts) for parts in alternatives):
        raise InvalidSearch(f"'{code}' needs words that must occur.")
    lite = " OR ".join(f"({_for_sqlite(parts)})" for parts in alternatives)
    query = " | ".join(f"({_for_postgresql(parts)})" for parts in alternatives)
    return Term(COLUMN_OF[code], (f"{{{COLUMN_OF[code]}}} : ({lite})", query))


def _parts(text: str) -> Iterator[Words]:
    for match in _PART.finditer(text):
        words = tuple(_WORD.findall(fold(match["phrase"] or match["word"] or "")))
        if words:
            yield Words(words, excluded=match["not"] is not None)


def _for_sqlite(parts: Sequence[Words]) -> str:
    wanted = " AND ".join(_quoted(each) for each in parts if not each.excluded)
    unwanted = "".join(f" NOT {_quoted(each)}" for each in parts if each.excluded)
    return f"({wanted}){unwanted}"


def _quoted(words: Words) -> str:
    return '"' + " ".join(words.words) + '"'


def _for_postgresql(parts: Sequence[Words]) -> str:
    return " & ".join(("!" if each.excluded else "") + f"({' <-> '.join(each.words)})" for each in parts)


class RidsWith(ColumnElement[bool]):
    """The row is among those whose words fit; written for each database in its own way."""

    inherit_cache = False
    type: Boolean = Boolean()

    def __init__(self, rid: ColumnElement[int], name: str, values: Sequence[Any]) -> None:
        lite, query = values
        words = literal_column("fhir_search_words").op("MATCH")(lite)
        self.on_sqlite = rid.in_(select(_WORDS.c.rowid).where(words))
        indexed = func.to_tsvector(literal_column("'simple'"), TEXT.c[name])
        fits = indexed.op("@@")(func.to_tsquery(literal_column("'simple'"), query))
        self.on_postgresql = rid.in_(_rids().where(fits))


def _rids() -> Select[tuple[int]]:
    return select(TEXT.c.rid)


@compiles(RidsWith, "sqlite")
def _on_sqlite(element: RidsWith, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.on_sqlite, **options)


@compiles(RidsWith, "postgresql")
def _on_postgresql(element: RidsWith, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.on_postgresql, **options)
