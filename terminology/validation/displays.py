"""Whether a display is one of a concept's names (FHIR R4 valueset-operation-validate-code.html, `display`).

Any name in a language that is asked for will do, as will one whose language nobody states; case does not
count, white space does. A name that is no longer used will do with a comment. Where there is no name in the
languages that are asked for, those of the code system's own language are compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from terminology.code_system import CodeSystem
from terminology.concept import Concept, Designation
from terminology.issues import Severity
from terminology.language import ANY, PREFERRED, Languages, choose_name, is_withdrawn, main_name
from terminology.messages import (
    DISPLAY_NO_LONGER_USED,
    DISPLAY_OF_OTHER_LANGUAGE,
    NO_DISPLAY,
    ONE_DISPLAY,
    SOME_DISPLAYS,
    WRONG_DISPLAY,
    WRONG_DISPLAY_NONE_IN_LANGUAGE,
    WRONG_SPACES,
    Message,
)
from terminology.validation.concepts import Options
from terminology.validation.findings import Findings
from terminology.validation.located import Located

MAX_SHOWN = 20  # names in one sentence
_MAIN_USES = frozenset({PREFERRED["code"], "display"})


def display_of(located: Located, languages: Languages | None) -> str | None:
    """The display of what was found, in the languages that are wanted where there is one."""
    if located.concept is None or located.system is None:
        return located.named.display if located.named else None
    main = main_name(located.concept, located.system.header.language)
    chosen = choose_name(main, located.concept.designations, languages) or main
    if chosen is not None:
        return chosen.value
    return located.named.display if located.named else None


def is_display_of(system: CodeSystem, concept: Concept, display: str) -> bool:
    """Whether a display is exactly one of a concept's names, in whatever language."""
    return any(each.value == display for each in _names(system, concept))


def _names(system: CodeSystem, concept: Concept) -> Iterator[Designation]:
    if (main := main_name(concept, system.header.language)) is not None:
        yield main
    yield from concept.designations


def check_display(
    located: Located, value_set_language: str | None, options: Options, findings: Findings
) -> None:
    """Say what is wrong with the display of a coding; nothing, where it has none."""
    display = located.coding.display
    if display is None or located.system is None or located.concept is None:
        return
    names = list(_names(located.system, located.concept))
    if located.named is not None:
        if located.named.display:
            names.append(Designation(located.named.display, value_set_language))
        names += located.named.designations
    _Check(located, names, options, findings).run(display)


class _Check:
    """One display against the names of one concept."""

    def __init__(
        self, located: Located, names: Sequence[Designation], options: Options, findings: Findings
    ) -> None:
        self._located = located
        self._options = options
        self._findings = findings
        self._all = names
        self._fitting = [each for each in names if is_asked_for(each.language, options.languages)]

    def run(self, display: str) -> None:
        wanted = display.casefold()
        same = [each for each in self._fitting if each.value.casefold() == wanted]
        if any(not is_withdrawn(each) for each in same):
            return
        if same:
            shown = ",".join(f'"{each.value}"' for each in self._shown())
            self._say(DISPLAY_NO_LONGER_USED, displays=shown)
            return
        if not self._all:
            self._say(NO_DISPLAY)
        elif not self._fitting:
            self._say_of_other_language(wanted)
        else:
            spaceless = _without_spaces(wanted)
            close = any(_without_spaces(each.value.casefold()) == spaceless for each in self._fitting)
            self._say_wrong(WRONG_SPACES if close else WRONG_DISPLAY)

    def _say_of_other_language(self, wanted: str) -> None:
        assert self._located.system is not None
        own = self._located.system.header.language
        default = self._all[0].value
        found = any(
            each.value.casefold() == wanted and (each is self._all[0] or same_language(each.language, own))
            for each in self._all
        )
        self._say(
            DISPLAY_OF_OTHER_LANGUAGE if found else WRONG_DISPLAY_NONE_IN_LANGUAGE,
            default=default,
            lenient=self._options.lenient_display,
        )

    def _say_wrong(self, message: Message) -> None:
        shown = self._shown()
        texts = [f"'{each.value}'" + (f" ({each.language})" if each.language else "") for each in shown]
        displays = " or ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
        template = ONE_DISPLAY if len(texts) == 1 else SOME_DISPLAYS
        self._say(
            message,
            valid=template.format(count=len(texts), displays=displays),
            lenient=self._options.lenient_display or not any(map(is_main, self._fitting)),
        )

    def _shown(self) -> Sequence[Designation]:
        """The names that are told: displays, where there are any that fit."""
        usable = [each for each in self._fitting if not is_withdrawn(each)] or self._fitting
        return ([each for each in usable if is_main(each)] or usable)[:MAX_SHOWN]

    def _say(self, message: Message, *, lenient: bool = False, **values: str) -> None:
        coding, languages = self._located.coding, self._options.languages
        issue = message.issue(
            coding.at("display"),
            display=coding.display or "",
            system=coding.system or "",
            code=coding.code or "",
            languages=languages.text if languages else "--",
            **values,
        )
        if lenient and issue.severity is Severity.ERROR:
            issue = replace(issue, severity=Severity.WARNING)
        self._findings.add(issue, in_summary=message.in_summary)


def is_main(name: Designation) -> bool:
    """Whether a name is a display: it has no use of its own, or is the preferred one of its language."""
    return name.use is None or name.use.get("code") in _MAIN_USES


def is_asked_for(language: str | None, languages: Languages | None) -> bool:
    """Whether a name in a language may be compared: a language nobody states always may."""
    if languages is None or language is None:
        return True
    return any(
        each.weight and (each.tag == ANY or same_language(each.tag, language)) for each in languages.ranges
    )


def same_language(one: str | None, other: str | None) -> bool:
    """Whether two tags are of the same language, whatever their regions (RFC 5646 §2.2.1)."""
    if one is None or other is None:
        return False
    return one.partition("-")[0].casefold() == other.partition("-")[0].casefold()


def _without_spaces(text: str) -> str:
    return " ".join(text.split())
