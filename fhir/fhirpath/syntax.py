"""From tokens to a tree: a Pratt parser (FHIRPath N1 §7, precedence of §6.8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from fhir.fhirpath.errors import InvalidExpression
from fhir.fhirpath.lexer import Token, TokenType, tokens_of
from fhir.fhirpath.quantity import CALENDAR_UNITS, Quantity
from fhir.fhirpath.temporal import Temporal, read_temporal

MAX_NESTING = 100  # parentheses, arguments and operators within each other


@dataclass(frozen=True, slots=True)
class Literal:
    """A value; None: the empty collection `{}`."""

    value: bool | int | Decimal | str | Temporal | Quantity | None


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index`, `$total`."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`%name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """An element by name; `of` None: of the context."""

    of: "Tree | None"
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function; `of` None: on the context."""

    of: "Tree | None"
    name: str
    arguments: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Subscript:
    """`of[index]`."""

    of: "Tree"
    index: "Tree"


@dataclass(frozen=True, slots=True)
class Unary:
    """`+x`, `-x`."""

    operator: str
    operand: "Tree"


@dataclass(frozen=True, slots=True)
class Binary:
    """An infix operator; `is` and `as` have a name as their right side."""

    operator: str
    left: "Tree"
    right: "Tree"


Tree = Literal | Special | Variable | Member | Call | Subscript | Unary | Binary

_POWER: Mapping[str, int] = {
    "implies": 1,
    **dict.fromkeys(("or", "xor"), 2),
    "and": 3,
    **dict.fromkeys(("in", "contains"), 4),
    **dict.fromkeys(("=", "~", "!=", "!~"), 5),
    **dict.fromkeys(("<=", "<", ">", ">="), 6),
    "|": 7,
    **dict.fromkeys(("is", "as"), 8),
    **dict.fromkeys(("+", "-", "&"), 9),
    **dict.fromkeys(("*", "/", "div", "mod"), 10),
}
_UNARY_POWER = 11
_POSTFIX_POWER = 12
_WORDS = {"true": True, "false": False}


def parse(text: str) -> Tree:
    """The tree of an expression.

    Raises:
        InvalidExpression: it is none.
    """
    return _Parser(tokens_of(text)).parse()


def type_name(tree: Tree) -> str:
    """The type that the right side of `is`, or the argument of `ofType`, names: `Patient`, `System.String`.

    Raises:
        InvalidExpression: it is no name.
    """
    if isinstance(tree, Member):
        return tree.name if tree.of is None else f"{type_name(tree.of)}.{tree.name}"
    raise InvalidExpression("A type is named by one name, or two with a dot.")


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Tree:
        tree = self._expression(0)
        if self._next.type is not TokenType.END:
            raise self._unexpected()
        return tree

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is(self, symbol: str) -> bool:
        return self._next.type is TokenType.SYMBOL and self._next.text == symbol

    def _expect(self, symbol: str) -> None:
        if not self._is(symbol):
            raise self._unexpected()
        self._take()

    def _unexpected(self) -> InvalidExpression:
        return InvalidExpression(f"The expression cannot be read at character {self._next.at}.")

    def _expression(self, power: int) -> Tree:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise InvalidExpression(f"The expression is nested deeper than {MAX_NESTING}.")
        tree = self._postfix(self._prefix())
        while (found := self._infix_power()) > power:
            operator = self._take().text
            right = self._name() if operator in ("is", "as") else self._expression(found)
            tree = Binary(operator, tree, right)
        self._depth -= 1
        return tree

    def _infix_power(self) -> int:
        if self._next.type in (TokenType.SYMBOL, TokenType.NAME):
            return _POWER.get(self._next.text, 0)
        return 0

    def _prefix(self) -> Tree:
        token = self._take()
        match token.type:
            case TokenType.NAME if token.text in _WORDS and not self._is("("):
                return Literal(_WORDS[token.text])
            case TokenType.NAME | TokenType.QUOTED_NAME:
                return self._member_or_call(None, token)
            case TokenType.STRING:
                return Literal(token.text)
            case TokenType.NUMBER:
                return self._number(token)
            case TokenType.DATE | TokenType.TIME:
                return self._temporal(token)
            case TokenType.VARIABLE:
                return Variable(token.text)
            case TokenType.SPECIAL:
                return Special(token.text)
            case _:
                return self._symbol(token)

    def _symbol(self, token: Token) -> Tree:
        if token.text == "(":
            tree = self._expression(0)
            self._expect(")")
            return tree
        if token.text == "{":
            self._expect("}")
            return Literal(None)
        if token.type is TokenType.SYMBOL and token.text in "+-":
            return Unary(token.text, self._expression(_UNARY_POWER))
        self._at -= 1
        raise self._unexpected()

    def _postfix(self, tree: Tree) -> Tree:
        while True:
            if self._is("."):
                self._take()
                token = self._take()
                if token.type not in (TokenType.NAME, TokenType.QUOTED_NAME):
                    self._at -= 1
                    raise self._unexpected()
                tree = self._member_or_call(tree, token)
            elif self._is("["):
                self._take()
                tree = Subscript(tree, self._expression(0))
                self._expect("]")
            else:
                return tree

    def _member_or_call(self, of: Tree | None, token: Token) -> Tree:
        if token.type is TokenType.QUOTED_NAME or not self._is("("):
            return Member(of, token.text)
        self._take()
        arguments: list[Tree] = []
        while not self._is(")"):
            if arguments:
                self._expect(",")
            arguments.append(self._expression(0))
        self._take()
        return Call(of, token.text, tuple(arguments))

    def _name(self) -> Tree:
        """A type's name, bare or with its namespace; parentheses around it are common."""
        if self._is("("):
            self._take()
            tree = self._name()
            self._expect(")")
            return tree
        token = self._take()
        if token.type not in (TokenType.NAME, TokenType.QUOTED_NAME):
            self._at -= 1
            raise self._unexpected()
        tree = Member(None, token.text)
        if self._is(".") and token.text in ("FHIR", "System"):
            self._take()
            tree = Member(tree, self._take().text)
        return tree

    def _number(self, token: Token) -> Tree:
        number = Decimal(token.text) if "." in token.text else int(token.text)
        if self._next.type is TokenType.STRING:
            return Literal(Quantity(Decimal(number), self._take().text))
        if self._next.type is TokenType.NAME and self._next.text in CALENDAR_UNITS:
            return Literal(Quantity(Decimal(number), CALENDAR_UNITS[self._take().text]))
        return Literal(number)

    def _temporal(self, token: Token) -> Tree:
        temporal = read_temporal(token.text, is_time=token.type is TokenType.TIME)
        if temporal is None:
            self._at -= 1
            raise self._unexpected()
        return Literal(temporal)
