"""Where the code of a coding was found."""

from dataclasses import dataclass, field
from typing import NamedTuple

from terminology.code_system import CodeSystem, Content
from terminology.concept import Concept
from terminology.validation.coded import Coding
from terminology.value_set import NamedConcept


class Found(NamedTuple):
    """What the last code system said in which a code was looked for, and how a value set names it."""

    system: CodeSystem | None = None  # None: none is known
    concept: Concept | None = None  # None: the code is not in it
    named: NamedConcept | None = None


_NOTHING = Found()


@dataclass(slots=True)
class Located:
    """A coding, and what is known of it so far."""

    coding: Coding
    found: Found = field(default=_NOTHING)
    member: bool | None = False  # of the value set; None: that cannot be told

    @property
    def system(self) -> CodeSystem | None:
        """The code system that counts."""
        return self.found.system

    @property
    def concept(self) -> Concept | None:
        """The concept in it."""
        return self.found.concept

    @property
    def named(self) -> NamedConcept | None:
        """The concept as the value set names it."""
        return self.found.named

    @named.setter
    def named(self, named: NamedConcept | None) -> None:
        self.found = self.found._replace(named=named)

    @property
    def version(self) -> str | None:
        """The version of the code system that counts."""
        return None if self.system is None else self.system.header.version

    @property
    def is_fragment(self) -> bool:
        """Whether the code system that counts has not all of its codes here."""
        return self.system is not None and self.system.header.content is not Content.COMPLETE

    @property
    def normal_code(self) -> str | None:
        """The code as its code system writes it; None: as it came, or it is not known."""
        if self.concept is None or self.concept.code == self.coding.code:
            return None
        return self.concept.code

    async def locate(self, system: CodeSystem) -> Concept | None:
        """Look for the code in a code system."""
        concept = await system.locate(self.coding.code or "")
        self.found = Found(system, concept)
        return concept
