"""From a tree to closures, and one evaluation of them (FHIRPath N1 §3, §7)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir.fhirpath.environment import NOTHING_MORE, Context, Environment
from fhir.fhirpath.equality import is_number
from fhir.fhirpath.errors import EvaluationFailed, InvalidExpression
from fhir.fhirpath.functions import FUNCTIONS, TYPE_FUNCTIONS
from fhir.fhirpath.items import Collection, Item, Json, element_of, members, resource_item
from fhir.fhirpath.operators import DECIDED, OPERATORS
from fhir.fhirpath.quantity import Quantity
from fhir.fhirpath.regex import require_linear
from fhir.fhirpath.singleton import boolean, integer, single, truth
from fhir.fhirpath.syntax import (
    Binary,
    Call,
    Literal,
    Member,
    Special,
    Subscript,
    Tree,
    Unary,
    Variable,
    parse,
    type_name,
)
from fhir.fhirpath.types import is_of_type

Evaluate = Callable[[Environment], Collection]
KEPT_EXPRESSIONS = 2_048  # compiled ones; all of R4's invariants and a few profiles'


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; it may be evaluated any number of times, from any thread."""

    text: str
    tree: Tree
    _evaluate: Evaluate

    def evaluate(self, focus: Item | Json, context: Context = NOTHING_MORE) -> Collection:
        """The result, from a resource as the JSON reader gives it or from an element of one.

        Raises:
            EvaluationFailed: the input does not suit the expression, or it took too many steps.
        """
        start = focus if type(focus) is Item or type(focus) is not dict else resource_item(focus)
        environment = Environment(start, context)
        if context.budget is None:
            return self._evaluate(environment)
        granted = environment.steps = min(context.steps, context.budget.left)
        try:
            return self._evaluate(environment)
        finally:
            context.budget.left -= granted - environment.steps

    def holds(self, focus: Item | Json, context: Context = NOTHING_MORE) -> bool:
        """Whether it is true; empty is not.

        Raises:
            EvaluationFailed: as `evaluate`.
        """
        return truth(self.evaluate(focus, context))


@lru_cache(KEPT_EXPRESSIONS)
def compile_expression(text: str, *, trusted: bool = True) -> Expression:
    """The expression that a text says; `trusted` False for what clients send: patterns must be simple then.

    Raises:
        InvalidExpression: it is none, or names a function or type that is not there.
    """
    tree = parse(text)
    return Expression(text, tree, _Compiler(trusted=trusted).compile(tree))


class _Compiler:
    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted
        self._keeps = False

    def compile(self, tree: Tree) -> Evaluate:
        if self._keeps or isinstance(tree, Literal | Variable) or not is_closed(tree):
            return self._compile(tree)
        self._keeps = True
        evaluate = self._compile(tree)
        self._keeps = False
        return _kept(evaluate)

    def _compile(self, tree: Tree) -> Evaluate:
        match tree:
            case Literal(value):
                constant = [] if value is None else [value]
                return lambda _: constant
            case Variable(name):
                return lambda environment: environment.variable(name)
            case Special(name):
                return _SPECIALS[name]
            case Member(None, name):
                return _from_context(name)
            case Member(of, name):
                return _then(self.compile(of), _step(name)) if of is not None else _from_context(name)
            case Call():
                return self._call(tree)
            case Subscript(of, index):
                return _subscript(self.compile(of), self.compile(index))
            case Unary(operator, operand):
                return _unary(operator, self.compile(operand))
            case Binary():
                return self._binary(tree)

    def _call(self, call: Call) -> Evaluate:
        of = _SPECIALS["this"] if call.of is None else self.compile(call.of)
        if call.name in TYPE_FUNCTIONS and len(call.arguments) == 1:
            apply = TYPE_FUNCTIONS[call.name](is_of_type(type_name(call.arguments[0])))
            return lambda environment: apply(of(environment))
        function = FUNCTIONS.get(call.name)
        if function is None:
            raise InvalidExpression(f"There is no function {call.name[:32]}().")
        if not function.least <= len(call.arguments) <= function.most:
            raise InvalidExpression(f"The function {call.name}() takes another number of arguments.")
        if function.takes_pattern and not self._trusted:
            require_linear(call.arguments[0])
        arguments = tuple(map(self.compile, call.arguments))
        implementation = function.implementation

        def called(environment: Environment) -> Collection:
            items = of(environment)
            if len(items) > 1:
                environment.spend(len(items))
            return implementation(items, environment, arguments)

        return called

    def _binary(self, tree: Binary) -> Evaluate:
        left = self.compile(tree.left)
        if tree.operator in ("is", "as"):
            apply = TYPE_FUNCTIONS[tree.operator](is_of_type(type_name(tree.right)))
            return lambda environment: apply(left(environment))
        right = self.compile(tree.right)
        operator = OPERATORS[tree.operator]
        if tree.operator not in DECIDED:

            def joined(environment: Environment) -> Collection:
                one, other = left(environment), right(environment)
                if len(one) > 1 or len(other) > 1:
                    environment.spend(len(one) + len(other))
                return operator(one, other)

            return joined
        deciding, result = DECIDED[tree.operator]

        def decided(environment: Environment) -> Collection:
            first = left(environment)
            return [result] if boolean(first) is deciding else operator(first, right(environment))

        return decided


def is_closed(tree: Tree) -> bool:
    """Whether the value is the same wherever in an evaluation: it begins with variables and literals only."""
    match tree:
        case Literal() | Variable():
            return True
        case Member(of, _):
            return of is not None and is_closed(of)
        case Subscript(of, index):
            return is_closed(of) and is_closed(index)
        case Unary(_, operand):
            return is_closed(operand)
        case Binary(operator, left, right):
            return is_closed(left) and (operator in ("is", "as") or is_closed(right))
        case Call(of, name, arguments):
            if of is None or not is_closed(of):
                return False
            if name in TYPE_FUNCTIONS:
                return True
            if name in _OF_EACH_ITEM:
                return not any(_names_total(each) for each in arguments)
            return all(is_closed(each) for each in arguments)
        case _:
            return False


def _names_total(tree: Tree | None) -> bool:
    """Whether `$total`, which an aggregate further out changes, is in an expression."""
    match tree:
        case Special(name):
            return name == "total"
        case Member(of, _) | Unary(_, of):
            return _names_total(of)
        case Subscript(one, other) | Binary(_, one, other):
            return _names_total(one) or _names_total(other)
        case Call(of, _, arguments):
            return _names_total(of) or any(map(_names_total, arguments))
        case _:
            return False


_OF_EACH_ITEM = frozenset(
    ("where", "select", "all", "exists", "repeat")
)  # their criteria have their own context


def _kept(evaluate: Evaluate) -> Evaluate:
    def kept(environment: Environment) -> Collection:
        found = environment.kept.get(evaluate)
        if found is None:
            found = environment.kept[evaluate] = evaluate(environment)
        return found

    return kept


def _this(environment: Environment) -> Collection:
    return environment.this


_SPECIALS: dict[str, Evaluate] = {
    "this": _this,
    "index": lambda environment: [environment.index],
    "total": lambda environment: environment.total,
}
Step = Callable[[Collection, Environment], Collection]


def _then(first: Evaluate, step: Step) -> Evaluate:
    return lambda environment: step(first(environment), environment)


def _from_context(name: str) -> Evaluate:
    """A name that begins a path: an element of the context, or the context's own type (FHIRPath N1 §3.1)."""
    step = _step(name)
    if not name[0].isupper():
        return lambda environment: step(environment.this, environment)

    def start(environment: Environment) -> Collection:
        here = environment.this
        if here and type(here[0]) is Item and name in here[0].kind.ancestors:
            return here
        return step(here, environment)

    return start


def _step(name: str) -> Step:
    def step(items: Collection, environment: Environment) -> Collection:
        found: Collection = []
        for item in items:
            if type(item) is not Item:
                continue
            if item.kind.is_primitive and name == "value" and item.value is not None:
                found.append(item.value)
            for child in item.kind.by_name.get(name, ()):
                found.extend(members(item, child))
            if name == "resourceType" and item.kind.is_resource:
                found.append(element_of(item).get(name))
        environment.spend(len(items) + len(found))
        return found

    return step


def _subscript(of: Evaluate, index: Evaluate) -> Evaluate:
    def subscript(environment: Environment) -> Collection:
        items, at = of(environment), integer(index(environment))
        return items[at : at + 1] if at is not None and at >= 0 else []

    return subscript


def _unary(operator: str, operand: Evaluate) -> Evaluate:
    def unary(environment: Environment) -> Collection:
        value: Any = single(operand(environment))
        if value is None:
            return []
        if type(value) is Quantity:
            return [Quantity(-value.value, value.unit, value.system) if operator == "-" else value]
        if not is_number(value):
            raise EvaluationFailed("A number is needed after a sign.")
        return [-value if operator == "-" else value]

    return unary
