"""The terminology operations at the door (FHIR R4 terminology-service.html); `terminology/` performs them."""

from collections.abc import Sequence

from fhir.operations.operation import Level, Operation
from fhir.operations.terminology.invoke import Invoked
from terminology.expand import expand
from terminology.library import Kind
from terminology.lookup import lookup
from terminology.subsumes import subsumes
from terminology.translate import translate
from terminology.validate_code import validate_batch, validate_in_code_system, validate_in_value_set

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/"
_TYPE = frozenset({Level.TYPE})
_TYPE_AND_INSTANCE = frozenset({Level.TYPE, Level.INSTANCE})
_BATCH = Operation(
    "batch-validate-code",
    f"{_DEFINITION}Resource-batch-validate-code",
    frozenset({Level.SYSTEM, Level.TYPE}),
    Invoked("batch-validate-code", validate_batch),
    types=frozenset({Kind.CODE_SYSTEM.value, Kind.VALUE_SET.value}),
)


def _operation(kind: Kind, levels: frozenset[Level], invoked: Invoked) -> Operation:
    definition = f"{_DEFINITION}{kind.value}-{invoked.name}"
    return Operation(invoked.name, definition, levels, invoked, types=frozenset({kind.value}))


TERMINOLOGY_OPERATIONS: Sequence[Operation] = (
    _operation(Kind.CODE_SYSTEM, _TYPE, Invoked("lookup", lookup)),
    _operation(Kind.CODE_SYSTEM, _TYPE_AND_INSTANCE, Invoked("subsumes", subsumes, url="system")),
    _operation(
        Kind.VALUE_SET,
        _TYPE_AND_INSTANCE,
        Invoked("validate-code", validate_in_value_set, version="valueSetVersion"),
    ),
    _operation(Kind.CODE_SYSTEM, _TYPE_AND_INSTANCE, Invoked("validate-code", validate_in_code_system)),
    _BATCH,
    _operation(Kind.VALUE_SET, _TYPE_AND_INSTANCE, Invoked("expand", expand, version="valueSetVersion")),
    _operation(
        Kind.CONCEPT_MAP, _TYPE_AND_INSTANCE, Invoked("translate", translate, version="conceptMapVersion")
    ),
)
