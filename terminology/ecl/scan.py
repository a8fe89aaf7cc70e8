"""Reading an expression constraint from left to right (ECL 2.2, §5.1: white space, comments, keywords).

A scanner is a text and a place in it. It takes what it is asked for, or says what was expected where.
"""

import re

from terminology.issues import InvalidFilter

MAX_CHARACTERS = 20_000  # of one expression
MAX_DEPTH = 24  # of brackets within one another
SHOWN_CHARACTERS = 1_000  # characters of it in a message
MAX_PARTS = 400  # concepts, operators, attributes and filters

_BLANK = re.compile(r"(?:[ \t\r\n]|/\*(?:[^*]|\*(?!/))*\*/)*")
_WORD = re.compile(r"[A-Za-z]+")
_TERM = re.compile(r"\|[ \t]*([^|\s][^|]*)\|")
_OPENING = {"(": ")", "{": "}", "[": "]"}


class InvalidExpression(InvalidFilter):
    """An expression constraint that cannot be understood; says where."""

    def __init__(self, text: str, position: int, what: str) -> None:
        shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
        super().__init__(
            f"The ECL expression '{shown}' is not understood at character {position + 1}: {what}."
        )
        self.position = position


class Scanner:
    """A text, and how far it is read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.parts = 0
        if len(text) > MAX_CHARACTERS:
            raise InvalidExpression(text, MAX_CHARACTERS, f"it has more than {MAX_CHARACTERS} characters")
        self.skip()

    def fault(self, what: str, position: int | None = None) -> InvalidExpression:
        """What to raise."""
        return InvalidExpression(self.text, self.at if position is None else position, what)

    def expected(self, what: str) -> InvalidExpression:
        """What to raise where something else was expected."""
        found = self.text[self.at : self.at + 1]
        return self.fault(f"{what} expected, {repr(found) if found else 'the end'} found")

    def skip(self) -> None:
        """Go past white space and comments."""
        end = _BLANK.match(self.text, self.at)
        self.at = end.end() if end else self.at

    def sees(self, sign: str) -> bool:
        """Whether a sign comes next."""
        return self.text.startswith(sign, self.at)

    def takes(self, sign: str) -> bool:
        """Go past a sign and the white space after it, if it comes next."""
        if not self.sees(sign):
            return False
        self.at += len(sign)
        self.skip()
        return True

    def take(self, sign: str) -> None:
        """Go past a sign that must come next."""
        if not self.takes(sign):
            raise self.expected(f"'{sign}'")

    def word(self) -> str:
        """The letters that come next, in lower case; stays before them."""
        found = _WORD.match(self.text, self.at)
        return found[0].lower() if found else ""

    def takes_word(self, *words: str) -> bool:
        """Go past a keyword, if it comes next."""
        if self.word() not in words:
            return False
        self.at += len(self.word())
        self.skip()
        return True

    def matches(self, pattern: re.Pattern[str]) -> str | None:
        """Go past what a pattern takes, and the white space after it."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        self.skip()
        return found[0]

    def skip_term(self) -> None:
        """Go past a term between pipes, if there is one."""
        if self.sees("|") and self.matches(_TERM) is None:
            raise self.expected("a term between two '|'")

    def enter(self, sign: str) -> None:
        """Go past an opening bracket.

        Raises:
            InvalidExpression: it is not there, or within too many others.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(f"more than {MAX_DEPTH} brackets lie within one another")
        self.take(sign)

    def leave(self, sign: str) -> None:
        """Go past a closing bracket."""
        self.take(sign)
        self.depth -= 1

    def count(self) -> None:
        """One more part.

        Raises:
            InvalidExpression: there are too many.
        """
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise self.fault(f"it has more than {MAX_PARTS} parts")

    def after_bracket(self) -> str:
        """What follows the bracket that closes the next one; "": nothing, or it is not closed."""
        waiting: list[str] = []
        at = self.at
        while at < len(self.text):
            sign = self.text[at]
            if sign in _OPENING:
                waiting.append(_OPENING[sign])
            elif waiting and sign == waiting[-1]:
                waiting.pop()
                if not waiting:
                    end = _BLANK.match(self.text, at + 1)
                    return self.text[end.end() if end else at + 1 :][:3]
            at = self._past(at)
        return ""

    def _past(self, at: int) -> int:
        """The place after one sign, a term, a text or a comment."""
        sign = self.text[at]
        if sign == "|":
            end = self.text.find("|", at + 1)
            return len(self.text) if end < 0 else end + 1
        if self.text.startswith("/*", at):
            end = self.text.find("*/", at + 2)
            return len(self.text) if end < 0 else end + 2
        if sign == '"':
            at += 1
            while at < len(self.text) and self.text[at] != '"':
                at += 2 if self.text[at] == "\\" else 1
        return at + 1
