"""A code system of which some concepts are here and not what is said of them (CodeSystem.content `fragment`).

SNOMED CT and LOINC ship as the concepts of DICOM's context groups, without hierarchy and properties. A filter
or a subsumption test over what is not here would find too little and look like an answer: it is refused.
"""

from collections.abc import Sequence

from terminology.code_system import Filter, FilterOperator, Selected, Selection
from terminology.issues import NotSupported
from terminology.listed import ListedCodeSystem

_OF_THE_CODE = frozenset({"code", "concept", "display", "definition"})  # told by each concept itself
_OF_THE_HIERARCHY = frozenset(
    {
        FilterOperator.IS_A,
        FilterOperator.DESCENDENT_OF,
        FilterOperator.IS_NOT_A,
        FilterOperator.GENERALIZES,
        FilterOperator.CHILD_OF,
        FilterOperator.DESCENDENT_LEAF,
    }
)


class FragmentCodeSystem(ListedCodeSystem):
    """A fragment in memory, which says what it cannot tell."""

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Whether the first is the second, or above it.

        Raises:
            NotSupported: the hierarchy is not here.
        """
        if (
            self.hierarchy.written(ancestor) != self.hierarchy.written(descendant)
            and not self.hierarchy.parents
        ):
            raise self._refusal("hierarchy")
        return await super().subsumes(ancestor, descendant)

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through."""
        self._check(filters)
        return await super().lets_through(code, filters)

    async def select(self, selection: Selection) -> Selected:
        """The concepts that are wanted, of those that are here."""
        self._check(selection.filters)
        return await super().select(selection)

    def _check(self, filters: Sequence[Filter]) -> None:
        for each in filters:
            if each.operator in _OF_THE_HIERARCHY:
                if not self.hierarchy.parents:
                    raise self._refusal("hierarchy")
            elif each.property not in _OF_THE_CODE and each.property not in self.header.properties:
                raise self._refusal(f"property '{each.property}'")

    def _refusal(self, what: str) -> NotSupported:
        return NotSupported(
            f"A fragment of '{self.header.url}' is here, without its {what}: import a release of it."
        )
