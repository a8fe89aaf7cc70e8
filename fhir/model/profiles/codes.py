"""Whether a code is in a value set, as far as its definition alone tells (FHIR R4 valueset.html#compose)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from fhir.model.validation.definitions import codes_by_system

Json = Any
Find = Callable[[str], Json | None]

MAX_NESTING = 20  # value sets within value sets
MAX_QUESTIONS = 500  # that one check leaves to the terminology service


class Question(NamedTuple):
    """Whether a value set has a code; `system` None: any system of it (the type `code`)."""

    value_set: str
    system: str | None
    code: str


Answers = Mapping[Question, bool | None]


class Codes:
    """Membership in the value sets of a library, and in those that R4 requires.

    Three answers: yes, no, and None where a filter, an unknown code system or an unknown value set would
    have to say. Those are questions for the terminology service: `asking` gathers them and takes its answers.
    """

    def __init__(self, value_set: Find, code_system: Find) -> None:
        self._value_set = value_set
        self._code_system = code_system
        self._codes: dict[str, frozenset[str] | None] = {}  # of whole code systems
        self._answers: Answers = {}
        self._open: set[Question] = set()

    @contextmanager
    def asking(self, answers: Answers) -> Iterator[set[Question]]:
        """Within it `has` knows these answers; the set that it gives gathers what nobody has answered yet."""
        self._answers, self._open = answers, set()
        try:
            yield self._open
        finally:
            self._answers, self._open = {}, set()

    def has(self, url: str, system: str | None, code: str) -> bool | None:
        """Whether a value set has a code; `system` None: any system of it (the type `code`)."""
        found = self._has(url, system, code)
        if found is not None:
            return found
        question = Question(url, system, code)
        if question not in self._answers and len(self._open) < MAX_QUESTIONS:
            self._open.add(question)
        return self._answers.get(question)

    def _has(self, url: str, system: str | None, code: str, depth: int = 0) -> bool | None:
        value_set = self._value_set(url)
        if value_set is None:
            return _in_r4(url, system, code)
        compose = value_set.get("compose")
        if compose is None or depth > MAX_NESTING:
            return self._in_expansion(value_set, system, code)
        excluded = [self._in_part(part, system, code, depth) for part in compose.get("exclude", ())]
        if True in excluded:
            return False
        included = [self._in_part(part, system, code, depth) for part in compose.get("include", ())]
        if True in included:
            return None if None in excluded else True
        return None if None in included else False

    def _in_part(self, part: Json, system: str | None, code: str, depth: int) -> bool | None:
        """Every criterion of one include or exclude must hold."""
        found = [self._has(url, system, code, depth + 1) for url in part.get("valueSet", ())]
        if "system" in part:
            found.append(self._in_system(part, system, code))
        if False in found:
            return False
        return None if None in found else bool(found)

    def _in_system(self, part: Json, system: str | None, code: str) -> bool | None:
        if system is not None and system != part["system"]:
            return False
        if "concept" in part:
            return any(concept.get("code") == code for concept in part["concept"])
        known = self._all_of(part["system"])
        if known is None:
            return None
        if code not in known:
            return False
        return None if "filter" in part else True

    def _all_of(self, system: str) -> frozenset[str] | None:
        if system not in self._codes:
            definition = self._code_system(system)
            complete = definition is not None and definition.get("content") == "complete"
            self._codes[system] = frozenset(_codes(definition)) if complete else None
        return self._codes[system]

    @staticmethod
    def _in_expansion(value_set: Json, system: str | None, code: str) -> bool | None:
        expansion = value_set.get("expansion")
        if expansion is None:
            return None
        stack = list(expansion.get("contains", ()))
        while stack:
            entry = stack.pop()
            if entry.get("code") == code and system in (None, entry.get("system")):
                return True
            stack += entry.get("contains", ())
        return False


def _in_r4(url: str, system: str | None, code: str) -> bool | None:
    """In a value set of R4 itself, which are told with the version 4.0.1."""
    systems = codes_by_system(url) or codes_by_system(f"{url}|4.0.1")
    if systems is None:
        return None
    return any(code in codes for each, codes in systems.items() if system in (None, each))


def _codes(definition: Json) -> Iterator[str]:
    stack = list(definition.get("concept", ()))
    while stack:
        concept = stack.pop()
        yield str(concept.get("code"))
        stack += concept.get("concept", ())
