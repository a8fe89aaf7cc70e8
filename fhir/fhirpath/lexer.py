"""From the text of an expression to tokens (FHIRPath N1, grammar)."""

import re
from dataclasses import dataclass
from enum import Enum

from fhir.fhirpath.errors import InvalidExpression

MAX_CHARACTERS = 20_000  # of an expression; R4's longest has 700


class TokenType(Enum):
    """Kinds of tokens."""

    NAME = "name"
    QUOTED_NAME = "quoted name"  # `div`: never a keyword
    STRING = "string"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    VARIABLE = "variable"
    SPECIAL = "special"  # $this, $index, $total
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token, its text without quotes and marks, and where it begins."""

    type: TokenType
    text: str
    at: int


_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/)
    |@T(?P<time>\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)
    |@(?P<date>\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+\-]\d\d:\d\d)?)?)?)
    |(?P<number>\d+(?:\.\d+)?)
    |'(?P<string>(?:[^'\\]|\\.)*)'
    |(?P<quoted_name>`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
    |%(?P<variable>[A-Za-z_][\w\-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |\$(?P<special>this|index|total)\b
    |(?P<name>[A-Za-z_]\w*)
    |(?P<symbol><=|>=|!=|!~|[<>=~+\-*/&|.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


def tokens_of(text: str) -> list[Token]:
    """The tokens of an expression, END last.

    Raises:
        InvalidExpression: a character that begins none, or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidExpression(f"The expression is longer than {MAX_CHARACTERS} characters.")
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidExpression(f"The expression cannot be read at character {at}.")
        at = match.end()
        kind = match.lastgroup
        if kind is not None and kind != "skip":
            tokens.append(Token(TokenType(kind.replace("_", " ")), _text(kind, match[kind]), match.start()))
    tokens.append(Token(TokenType.END, "", len(text)))
    return tokens


def _text(kind: str, written: str) -> str:
    if kind == "string":
        return _ESCAPE.sub(_unescaped, written)
    if kind == "quoted_name" or (kind == "variable" and written[0] in "`'\""):
        return _ESCAPE.sub(_unescaped, written[1:-1])
    return written


def _unescaped(match: re.Match[str]) -> str:
    escaped = match[1]
    if len(escaped) > 1:
        return chr(int(escaped[1:], 16))
    return _ESCAPED.get(escaped, escaped)
