"""A code system whose codes a grammar tells: it has no list (FHIR R4 terminologies-systems.html)."""

from collections.abc import Callable, Mapping, Sequence

from terminology.code_system import Filter, FilterOperator, Header, Selected, Selection
from terminology.concept import Concept
from terminology.filters import CODE_NAMES, holds, split_list
from terminology.hierarchy import Hierarchy
from terminology.issues import InvalidFilter, TooCostly
from terminology.listed import terms_of
from terminology.text import MAX_WORDS, matches, words_of

MAX_NAMED_CODES = 1_000  # that a filter with `in` lists
OPERATORS = frozenset(
    {
        FilterOperator.EQUALS,
        FilterOperator.REGEX,
        FilterOperator.IN,
        FilterOperator.NOT_IN,
        FilterOperator.EXISTS,
    }
)
_NAMES = CODE_NAMES | {"display"}
_FLAT = Hierarchy()


class GrammarCodeSystem:
    """A `CodeSystem` by what reads one code; nothing lies below anything.

    Args:
        header: what is said of it as a whole; its properties are those that filters may name.
        read: the concept of a code, as the code system writes it; None: the code is not of the grammar.
        understand: gives a filter the value that concepts have it in.
    """

    def __init__(
        self,
        header: Header,
        read: Callable[[str], Concept | None],
        understand: Callable[[Filter], Filter] = lambda asked: asked,
    ) -> None:
        self.header = header
        self._read = read
        self._understand = understand

    async def locate(self, code: str) -> Concept | None:
        """The concept of a code."""
        return self._read(code)

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """The concepts of those codes that are of the grammar."""
        found = ((code, self._read(code)) for code in codes)
        return {code: concept for code, concept in found if concept is not None}

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Whether they are the same."""
        return ancestor == descendant

    async def parents(self, code: str) -> Sequence[str]:  # noqa: ARG002  of the protocol
        """None."""
        return ()

    async def children(self, code: str | None) -> Sequence[str]:
        """None; those with none above them are without number."""
        if code is None:
            raise self._refusal()
        return ()

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through."""
        concept = self._read(code)
        understood = [self._checked(each) for each in filters]
        return concept is not None and all(holds(each, concept, _FLAT) for each in understood)

    async def select(self, selection: Selection) -> Selected:
        """The concepts that are wanted, where a filter names them.

        Raises:
            TooCostly: none does.
        """
        filters = [self._checked(each) for each in selection.filters]
        words = words_of(selection.text or "")[:MAX_WORDS]
        found = [
            concept
            for concept in (await self.locate_all(self._named(filters))).values()
            if all(holds(each, concept, _FLAT) for each in filters) and matches(words, terms_of(concept))
        ]
        end = None if selection.limit is None else selection.offset + selection.limit
        return Selected(found[selection.offset : end], len(found))

    def _named(self, filters: Sequence[Filter]) -> Sequence[str]:
        for each in filters:
            if each.property in CODE_NAMES and each.operator is FilterOperator.EQUALS:
                return [each.value]
            if each.property in CODE_NAMES and each.operator is FilterOperator.IN:
                codes = list(dict.fromkeys(split_list(each.value)))
                if len(codes) > MAX_NAMED_CODES:
                    raise TooCostly(f"A filter names at most {MAX_NAMED_CODES} codes of '{self.header.url}'.")
                return codes
        raise self._refusal()

    def _checked(self, asked: Filter) -> Filter:
        if asked.property not in _NAMES and asked.property not in self.header.properties:
            raise InvalidFilter(f"The code system '{self.header.url}' has no property '{asked.property}'.")
        if asked.operator not in OPERATORS:
            raise InvalidFilter(
                f"The filter operator '{asked.operator}' is not understood for '{self.header.url}'."
            )
        return self._understand(asked)

    def _refusal(self) -> TooCostly:
        return TooCostly(f"The code system '{self.header.url}' has a grammar: its codes are without number.")
