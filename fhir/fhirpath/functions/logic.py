"""Choices, folds, traces and the clock (FHIRPath N1 §5.5.1, §5.9, §6.5.4, §8)."""

from collections.abc import Mapping

from fhir.fhirpath.environment import Environment
from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.functions.function import Arguments, Function
from fhir.fhirpath.items import Collection
from fhir.fhirpath.singleton import boolean, truth
from fhir.fhirpath.temporal import Temporal


def _not(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    value = boolean(items)
    return [] if value is None else [not value]


def _iif(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    """The criterion and the chosen branch see the whole input, not one item of it."""
    this = environment.this
    environment.this = items
    chosen = 1 if truth(arguments[0](environment)) else 2
    found = arguments[chosen](environment) if chosen < len(arguments) else []
    environment.this = this
    return found


def _aggregate(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    this, index, total = environment.this, environment.index, environment.total
    result = arguments[1](environment) if len(arguments) > 1 else []
    environment.spend(len(items))
    for at, item in enumerate(items):
        environment.this, environment.index, environment.total = [item], at, result
        result = arguments[0](environment)
    environment.this, environment.index, environment.total = this, index, total
    return result


def _now(_items: Collection, environment: Environment, _arguments: Arguments) -> Collection:
    return [_clock(environment)]


def _today(_items: Collection, environment: Environment, _arguments: Arguments) -> Collection:
    now = _clock(environment)
    return [Temporal("date", now.parts[:3], now.text[:10])]


def _time_of_day(_items: Collection, environment: Environment, _arguments: Arguments) -> Collection:
    now = _clock(environment)
    return [Temporal("time", now.parts[3:], now.text[11:].rstrip("Z"))]


def _clock(environment: Environment) -> Temporal:
    if environment.context.now is None:
        raise EvaluationFailed("The time is not told here.")
    return environment.context.now


FUNCTIONS: Mapping[str, Function] = {
    "not": Function(_not),
    "iif": Function(_iif, 2, 3),
    "aggregate": Function(_aggregate, 1, 2),
    "trace": Function(lambda items, _env, _args: items, 1, 2),
    "now": Function(_now),
    "today": Function(_today),
    "timeOfDay": Function(_time_of_day),
}
