"""What terminology has to say of the codes in a resource (FHIR R4 terminologies.html).

Bindings of profiles whose value sets a guide's definitions alone do not settle are asked of the terminology
service. `$validate` also looks each code up in its code system, as far as that is known here as a whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from fhir.fhirpath import Item
from fhir.fhirpath.items import children_of, resource_item
from fhir.model.profiles import Library as Profiles
from fhir.model.profiles import check_profiles
from fhir.model.profiles.codes import Answers, Question
from fhir.model.validation.issue import Issue, IssueType, Severity, error
from terminology.canonical import parse_canonical
from terminology.code_system import CodeSystem, Content
from terminology.issues import TerminologyFault
from terminology.library import Library
from terminology.listed import terms_of
from terminology.membership import membership
from terminology.text import words_of
from terminology.versions import choose, code_systems

Json = Any

MAX_CODES_LOOKED_UP = 1_000  # of one resource
_ROUNDS = 3  # what a first answer leads to may ask again
_CODED = frozenset(("Coding", "Quantity"))


async def check_profiles_with(
    terms: Library, resource: Json, urls: Iterable[str], profiles: Profiles
) -> Sequence[Issue]:
    """What is to say of a valid resource and these profiles, with bindings judged by the terminology."""
    answers: dict[Question, bool | None] = {}
    urls = list(urls)
    for _ in range(_ROUNDS):
        with profiles.codes.asking(answers) as asked:
            issues = check_profiles(resource, urls, profiles)
        if not asked:
            break
        answers |= await _answered(terms, asked)
    return issues


async def _answered(terms: Library, asked: Iterable[Question]) -> Answers:
    return {
        each: await membership(terms, parse_canonical(each.value_set), each.system, each.code)
        for each in asked
    }


def coded_elements(resource: Json) -> Sequence[Item]:
    """The elements of a valid resource that state a code and its system, as many as are looked up."""
    return list(islice(_coded(resource_item(resource)), MAX_CODES_LOOKED_UP))


async def check_codes(terms: Library, coded: Iterable[Item]) -> Sequence[Issue]:
    """What is wrong with the codes of a resource: an error for each that its code system does not have.

    A display that is none of the concept's names is a warning. Only code systems of which all codes are
    known here are asked.
    """
    looked_up = _LookedUp(terms)
    issues: list[Issue] = []
    for item in coded:
        issues += await looked_up.issues_of(item)
    return issues


def _coded(item: Item) -> Iterator[Item]:
    if _CODED & item.kind.ancestors and {"system", "code"} <= item.value.keys():
        yield item
    for child in children_of(item):
        yield from _coded(child)


class _LookedUp:
    """The code systems of one resource, each opened once."""

    def __init__(self, terms: Library) -> None:
        self._terms = terms
        self._systems: dict[tuple[str, str | None], CodeSystem | None] = {}

    async def issues_of(self, item: Item) -> Sequence[Issue]:
        coding = item.value
        system = await self._system(coding["system"], coding.get("version"))
        if system is None:
            return ()
        try:
            concept = await system.locate(coding["code"])
        except TerminologyFault:
            return ()
        if concept is None:
            text = f"The code system '{coding['system']}' has no such code."
            return (error(IssueType.CODE_INVALID, text, f"{item.path()}.code"),)
        display = coding.get("display")
        names = [words_of(each) for each in terms_of(concept)]
        if display is None or len(names) < 2 or words_of(display) in names:
            return ()
        text = f"The display is none of the names that '{coding['system']}' has for this code."
        return (Issue(Severity.WARNING, IssueType.INVALID, text, f"{item.path()}.display"),)

    async def _system(self, url: str, version: str | None) -> CodeSystem | None:
        if (url, version) not in self._systems:
            self._systems[url, version] = await self._opened(url, version)
        return self._systems[url, version]

    async def _opened(self, url: str, version: str | None) -> CodeSystem | None:
        edition = choose(await code_systems(self._terms, url), version)
        if edition is None or edition.content not in (None, Content.COMPLETE):
            return None
        system: CodeSystem = await edition.open()
        return system
