"""FHIRPath N1 (R4's 2.0.0) compiled to closures: pure, exact and bounded (FHIR R4 fhirpath.html)."""

from fhir.fhirpath.errors import EvaluationFailed, InvalidExpression, TooCostly
from fhir.fhirpath.expression import Expression, compile_expression
from fhir.fhirpath.items import Item

__all__ = [
    "EvaluationFailed",
    "Expression",
    "InvalidExpression",
    "Item",
    "TooCostly",
    "compile_expression",
]
