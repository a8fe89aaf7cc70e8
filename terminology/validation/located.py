"""Where the code of a coding was found."""

from dataclasses import dataclass

from terminology.code_system import CodeSystem, Content
from terminology.concept import Concept
from terminology.validation.coded import Coding
from terminology.value_set import NamedConcept


@dataclass(slots=True)
class Located:
    """A coding, and what is known of it so far; the last code system in which it was looked for counts."""

    coding: Coding
    system: CodeSystem | None = None  # None: none is known
    concept: Concept | None = None  # None: the code is not in it
    named: NamedConcept | None = None  # as the value set names it
    member: bool | None = False  # of the value set; None: that cannot be told

    @property
    def version(self) -> str | None:
        """The version of the code system that counted."""
        return None if self.system is None else self.system.header.version

    @property
    def is_fragment(self) -> bool:
        """Whether the code system that counted has not all of its codes here."""
        return self.system is not None and self.system.header.content is not Content.COMPLETE

    @property
    def normal_code(self) -> str | None:
        """The code as its code system writes it; None: as it came, or it is not known."""
        if self.concept is None or self.concept.code == self.coding.code:
            return None
        return self.concept.code

    async def locate(self, system: CodeSystem) -> Concept | None:
        """Look for the code in a code system."""
        self.system, self.named = system, None
        self.concept = await system.locate(self.coding.code or "")
        return self.concept
