"""Functions of numbers, exact where they can be (FHIRPath N1 §5.7)."""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException, localcontext
from typing import Any

from fhir.fhirpath.environment import Environment
from fhir.fhirpath.equality import is_number
from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.functions.function import Arguments, Function
from fhir.fhirpath.items import Collection
from fhir.fhirpath.operators import DIGITS, wrap
from fhir.fhirpath.quantity import Quantity
from fhir.fhirpath.singleton import integer, single

MAX_POWER = 10_000  # of an exponent; beyond it the digits alone would fill memory


def _number(value: Any) -> Any:
    if is_number(value):
        return value
    raise EvaluationFailed("A number is needed here.")


def _of_number(compute: Callable[[Any], Any]) -> Function:
    def implementation(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
        value = single(items)
        return [] if value is None else _computed(lambda: compute(_number(value)))

    return Function(implementation)


def _computed(compute: Callable[[], Any]) -> Collection:
    """What has no result, such as the root of -1 or the logarithm of 0, is empty (§5.7)."""
    try:
        with localcontext() as precise:
            precise.prec = DIGITS
            found = compute()
            return [] if type(found) is Decimal and not found.is_finite() else wrap(found)
    except (DecimalException, OverflowError, ValueError, ZeroDivisionError):
        return []


def _abs(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    value = single(items)
    if type(value) is Quantity:
        return [Quantity(abs(value.value), value.unit, value.system)]
    return [] if value is None else [abs(_number(value))]


def _log(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    value, base = single(items), single(arguments[0](environment))
    if value is None or base is None:
        return []
    return _computed(lambda: round(Decimal(_number(value)).ln() / Decimal(_number(base)).ln(), DIGITS - 4))


def _power(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    value, exponent = single(items), single(arguments[0](environment))
    if value is None or exponent is None or abs(_number(exponent)) > MAX_POWER:
        return []
    whole = type(_number(value)) is int and type(exponent) is int and exponent >= 0
    raised = _computed(lambda: Decimal(value) ** Decimal(exponent))
    if raised and (abs(raised[0].adjusted()) > DIGITS):
        return []  # beyond the digits that are kept
    return [int(each) for each in raised] if whole else raised


def _round(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    value = single(items)
    places = integer(arguments[0](environment)) if arguments else 0
    if value is None or places is None:
        return []
    if not 0 <= places <= DIGITS:
        raise EvaluationFailed("A number is rounded to a place that it has.")
    return _computed(lambda: Decimal(_number(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(_abs),
    "ceiling": _of_number(lambda n: int(Decimal(n).to_integral_value(ROUND_CEILING))),
    "floor": _of_number(lambda n: int(Decimal(n).to_integral_value(ROUND_FLOOR))),
    "truncate": _of_number(int),
    "exp": _of_number(lambda n: Decimal(n).exp()),
    "ln": _of_number(lambda n: Decimal(n).ln()),
    "sqrt": _of_number(lambda n: Decimal(n).sqrt()),
    "log": Function(_log, 1, 1),
    "power": Function(_power, 1, 1),
    "round": Function(_round, 0, 1),
}
