"""Operations (FHIR R4 operations.html): one module each, and the table by which they are found and told."""

from collections.abc import Sequence

from fhir.operations.everything import EVERYTHING_OPERATIONS
from fhir.operations.lastn import LASTN_OPERATIONS
from fhir.operations.meta import META_OPERATIONS
from fhir.operations.operation import Operation
from fhir.operations.terminology import TERMINOLOGY_OPERATIONS
from fhir.operations.validate import VALIDATE_OPERATIONS
from fhir.operations.versions import VERSIONS_OPERATIONS

# Those of this package; the roof adds what crosses packages.
OPERATIONS: Sequence[Operation] = (
    *EVERYTHING_OPERATIONS,
    *LASTN_OPERATIONS,
    *META_OPERATIONS,
    *TERMINOLOGY_OPERATIONS,
    *VALIDATE_OPERATIONS,
    *VERSIONS_OPERATIONS,
)
