"""Narrative.div: a limited XHTML that nothing can run in (FHIR R4 narrative.html#xhtml, txt-1, txt-2).

Read by expat as XML without a document type: there are no entities to expand and nothing to fetch. Allowed
is what the lists below name; everything else is refused. Stricter than R4 in one point: what a browser would
load by itself (images, `url()` of a style) must be in the record: an image from elsewhere tells its server
who reads.
"""

import re
from collections.abc import Mapping, Sequence
from html.entities import name2codepoint
from xml.parsers import expat

XHTML = "http://www.w3.org/1999/xhtml"
MAX_DEPTH = 100  # elements within elements
MAX_PROBLEMS = 10  # told of one narrative


def _names(separated: str) -> frozenset[str]:
    return frozenset(separated.split())


# HTML 4.0 chapters 7 to 11 without 9.4, and 15; <a> and images (FHIR R4 txt-1)
ELEMENTS = _names(
    "a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt em "
    "h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot "
    "th thead tr tt ul var"
)
ATTRIBUTES = _names(
    "abbr accesskey align axis char charoff class colspan dir headers height id lang rowspan scope span "
    "style tabindex title valign width xml:lang xml:space"
)
ATTRIBUTES_OF: Mapping[str, frozenset[str]] = {
    "a": _names("charset coords href hreflang name rel rev shape type"),
    "area": _names("alt coords href nohref shape"),
    "blockquote": _names("cite"),
    "div": _names("xmlns"),
    "img": _names("alt border ismap longdesc src usemap"),
    "li": _names("type value"),
    "map": _names("name"),
    "ol": _names("start type"),
    "q": _names("cite"),
    "table": _names("border cellpadding cellspacing frame rules summary"),
    "td": _names("nowrap"),
    "th": _names("nowrap"),
    "ul": _names("type"),
}
SHOWS_BY_ITSELF = frozenset(("img", "hr"))  # content without text (txt-2)
_LINKS = frozenset(("href", "cite", "longdesc", "usemap"))
_FOLLOWED_SCHEMES = frozenset(("http", "https", "mailto", "tel", "urn"))

_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_OF_XML = frozenset(("lt", "gt", "amp", "quot", "apos"))
_SCHEME = re.compile(r"([a-z][a-z0-9+.\-]*):")
_IGNORED_IN_URLS = re.compile(r"[\x00-\x20\x7f]")  # browsers drop them before they look for a scheme
_STYLE_COMMENT = re.compile(r"/\*.*?(?:\*/|$)", re.DOTALL)
_STYLE_URL = re.compile(r"url\(\s*(['\"]?)(.*?)\1\s*\)")
_RUNS_IN_STYLES = ("expression(", "javascript:", "@import", "behavior:", "-moz-binding", "image-set(", "src(")


class _Enough(Exception):
    """What is told of one narrative is full, or the rest cannot be read."""


def problems_of(div: str) -> Sequence[str]:
    """What is wrong with a narrative's `div`, one sentence each, without its text; empty: nothing."""
    reader = _Reader()
    try:
        reader.parse(div)
    except _Enough:
        pass
    except expat.ExpatError as error:
        reader.problems.append(
            f"The narrative is no well-formed XHTML (line {error.lineno}, column {error.offset})."
        )
    else:
        if not reader.shows_something:
            reader.problems.append("The narrative has no content (txt-2).")
    return reader.problems


class _Reader:
    """The state of one reading."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.shows_something = False
        self._depth = 0
        self._in_cdata = False

    def parse(self, div: str) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.ProcessingInstructionHandler = self._refuse_instruction
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.CommentHandler = self._comment
        parser.StartCdataSectionHandler = self._begin_cdata
        parser.EndCdataSectionHandler = self._end_cdata
        if "&" in div:
            div = _ENTITY.sub(self._entity, div)
        parser.Parse(div.encode("utf-8", "surrogatepass"), True)

    def _say(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Enough

    def _entity(self, match: re.Match[str]) -> str:
        name = match[1]
        if name in _OF_XML:
            return match[0]
        if name not in name2codepoint:
            self._say("The narrative uses an entity that HTML 4 does not define.")
            return ""
        return f"&#{name2codepoint[name]};"

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            if name != "div" or attributes.get("xmlns") != XHTML:
                self._say(f"A narrative is one div of the namespace {XHTML}.")
        elif "xmlns" in attributes and attributes["xmlns"] != XHTML:
            self._say("The narrative contains another namespace (txt-1).")
        if self._depth > MAX_DEPTH:
            self._say(f"The narrative is nested deeper than {MAX_DEPTH} elements.")
            raise _Enough
        if name not in ELEMENTS:
            self._say(f"The narrative contains an element that is not allowed{_named(name)} (txt-1).")
        self.shows_something = self.shows_something or name in SHOWS_BY_ITSELF
        if attributes:
            self._check_attributes(name, attributes)

    def _check_attributes(self, element: str, attributes: dict[str, str]) -> None:
        own = ATTRIBUTES_OF.get(element, frozenset())
        for name, value in attributes.items():
            if name not in ATTRIBUTES and name not in own:
                if name != "xmlns":
                    self._say(
                        f"The narrative contains an attribute that is not allowed{_named(name)} (txt-1)."
                    )
            elif name == "style":
                if not _is_safe_style(value):
                    self._say("A style in the narrative runs or loads something (txt-1).")
            elif name == "src":
                if not _is_within(value):
                    self._say("An image in the narrative is not in the record: #id, relative or data:image/.")
            elif name in _LINKS and _scheme(value) not in (None, *_FOLLOWED_SCHEMES):
                self._say("A link in the narrative has a scheme that is not allowed (txt-1).")

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _text(self, text: str) -> None:
        self.shows_something = self.shows_something or not text.isspace()
        if self._in_cdata and "<" in text:
            self._say("The narrative hides an element from XML that HTML would find (txt-1).")

    def _begin_cdata(self) -> None:
        self._in_cdata = True

    def _end_cdata(self) -> None:
        self._in_cdata = False

    def _comment(self, text: str) -> None:
        """HTML ends a comment at `<!-->`, where XML begins one; and character data at its first `>`."""
        if text.startswith((">", "->")):
            self._say("The narrative hides an element from XML that HTML would find (txt-1).")

    def _refuse_instruction(self, _target: str, _data: str) -> None:
        self._say("The narrative contains a processing instruction.")

    def _refuse_doctype(self, *_declared: object) -> None:
        self._say("The narrative declares a document type.")
        raise _Enough


def _named(name: str) -> str:
    """The name where it is one of HTML's, which are short; others could carry anything."""
    return f", {name}," if len(name) <= 16 and name.isascii() and name.isalpha() else ""


def _scheme(url: str) -> str | None:
    """The scheme as a browser finds it; a reference to another host without one counts as https."""
    plain = _IGNORED_IN_URLS.sub("", url).lower().replace("\\", "/")
    if plain.startswith("//"):
        return "https"
    match = _SCHEME.match(plain)
    return match[1] if match else None


def _is_within(url: str) -> bool:
    scheme = _scheme(url)
    return scheme is None or (
        scheme == "data" and _IGNORED_IN_URLS.sub("", url).lower().startswith("data:image/")
    )


def _is_safe_style(style: str) -> bool:
    """Whether a style neither runs nor loads anything; escapes, which could hide either, are refused."""
    if "\\" in style:
        return False
    plain = _STYLE_COMMENT.sub("", style).lower()
    if any(word in plain for word in _RUNS_IN_STYLES):
        return False
    urls = _STYLE_URL.findall(plain)
    return len(urls) == plain.count("url(") and all(_is_within(url) for _quote, url in urls)
