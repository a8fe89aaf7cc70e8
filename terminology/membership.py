"""Whether a code belongs to a value set, and nothing else (FHIR R4 terminologies.html#binding).

For those who hold a code and a binding: validation of resources, search, manifests of models.
"""

from terminology.canonical import Canonical
from terminology.effort import Effort
from terminology.issues import TerminologyFault
from terminology.library import Library
from terminology.validation.coded import Coding
from terminology.validation.definitions import Definitions
from terminology.validation.findings import Findings
from terminology.validation.located import Located
from terminology.validation.members import QUIET, MembershipCheck, systems_of


async def membership(
    library: Library, value_set: Canonical, system: str | None, code: str, version: str | None = None
) -> bool | None:
    """Whether a code belongs to a value set; None: that cannot be told with what is here.

    `system` None: the code of whichever system the value set has it from (FHIR R4 datatypes.html#code).
    """
    definitions = Definitions(library)
    check = MembershipCheck(definitions, QUIET, Findings(), Effort())
    try:
        composed = await definitions.composed(await definitions.value_set(value_set))
        systems = systems_of(composed) if system is None else (system,)
        answers = [await check.is_member(composed, Located(Coding(each, code, version))) for each in systems]
    except TerminologyFault:
        return None
    return True if True in answers else (None if None in answers else False)
