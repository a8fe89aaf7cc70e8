"""What can be wrong with an expression; messages name places in it, never values of a resource."""

from server.kernel.faults import Fault, FaultKind


class InvalidExpression(Fault):
    """It is no FHIRPath, or names a function that is not offered."""

    kind = FaultKind.INVALID


class EvaluationFailed(Fault):
    """It cannot be evaluated on this input: one value is needed where there are more, or of another type."""

    kind = FaultKind.UNPROCESSABLE


class TooCostly(EvaluationFailed):
    """It took more steps than one evaluation may."""
