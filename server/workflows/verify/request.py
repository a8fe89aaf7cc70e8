"""What is asked of DiagnosticReport/{id}/$verify: the parameters of its OperationDefinition, and who asks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fhir.exchange import FhirRequest
from fhir.model.json_codec import Json, decode_json
from fhir.operations.parameters import Inputs, InvalidInput, one_of, read_inputs, value_of
from server.kernel.access import Access, Context, Permission
from server.kernel.faults import Forbidden

REPORT = "DiagnosticReport"
USER = "user:"  # how the id of a person's Principal begins
MAX_NAME_CHARACTERS = 64  # of a person or an organization: PN and LO (PS3.5 6.2)
MAX_REASON_CHARACTERS = 1_000
MAX_CONCLUSION_CHARACTERS = 100_000
MAX_OBSERVATIONS = 1_000  # that one request judges
_NOT_IN_NAMES = frozenset("\\=")  # what separates values and groups; components stand as `Family^Given`


class Action(Enum):
    """What becomes of the report."""

    ACCEPT = "accept"
    AMEND = "amend"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is changed: a new conclusion, Observations that do not hold, and new values, by Observation id."""

    conclusion: str | None = None
    rejected: frozenset[str] = frozenset()
    values: Mapping[str, tuple[str, Json]] = field(default_factory=dict)  # ("valueQuantity", {...})

    def __bool__(self) -> bool:
        return self.conclusion is not None or self.changes_findings

    @property
    def changes_findings(self) -> bool:
        """Whether more is changed than words."""
        return bool(self.rejected) or bool(self.values)


@dataclass(frozen=True, slots=True)
class Verification:
    """One person's word."""

    action: Action
    verifier: str
    organization: str | None
    reason: str | None
    amendment: Amendment


def read_verification(request: FhirRequest) -> Verification:
    """The word that a request brings.

    Raises:
        Forbidden: nobody stands behind the token.
        InvalidInput: a parameter is missing, unknown or makes no sense; and what `read_inputs` raises.
    """
    require_person(request.access)
    inputs = read_inputs(request)
    judged = list(_judged(request))
    named = {"action", "verifier", "organization", "reason", "conclusion"}
    if unknown := inputs.keys() - named - {"observation"}:
        raise InvalidInput(f"This operation has no parameter '{min(unknown)[:64]}'.")
    asked = Verification(
        _action(inputs),
        _verifier(request.access, _line(inputs, "verifier", MAX_NAME_CHARACTERS)),
        _line(inputs, "organization", MAX_NAME_CHARACTERS),
        _line(inputs, "reason", MAX_REASON_CHARACTERS),
        _amendment(_text(inputs, "conclusion", MAX_CONCLUSION_CHARACTERS), judged),
    )
    if asked.action is Action.REJECT and asked.reason is None:
        raise InvalidInput("To reject a report needs a 'reason'.")
    if bool(asked.amendment) is not (asked.action is Action.AMEND):
        raise InvalidInput("'conclusion' and 'observation' are what 'amend' needs, and only that.")
    return asked


def require_person(access: Access) -> None:
    """Let a person go on, by the Principal or by a `user/` scope; a system answers for nothing.

    Raises:
        Forbidden: the token is a system's, or a patient's.
    """
    by_scope = any(
        grant.context is Context.USER and grant.covers(REPORT, Permission.UPDATE) for grant in access.grants
    )
    if not by_scope and not access.principal.id.startswith(USER):
        raise Forbidden(
            "A report is verified by a person: with a user's token, or the scope user/DiagnosticReport.u."
        )


def _action(inputs: Inputs) -> Action:
    try:
        return Action(one_of(inputs, "action"))
    except ValueError:
        raise InvalidInput("'action' is one of accept, amend, reject.") from None


def _verifier(access: Access, stated: str | None) -> str:
    """The person's name: by which the token's user logs in, else the one that is stated."""
    if access.principal.id.startswith(USER):
        if stated is not None:
            raise InvalidInput("'verifier' is whom the token names; leave it out.")
        return _as_name(access.principal.id.removeprefix(USER))
    if stated is None or not (name := _as_name(stated)):
        raise InvalidInput("'verifier' is needed: the name of the person, whom the token does not name.")
    return name


def _as_name(text: str) -> str:
    """A PN value; "" when there is no name in it."""
    name = " ".join("".join(" " if c in _NOT_IN_NAMES else c for c in text).split())[:MAX_NAME_CHARACTERS]
    return name if name.strip("^ ") else ""


def _text(inputs: Inputs, name: str, limit: int) -> str | None:
    value = one_of(inputs, name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        raise InvalidInput(f"'{name}' is a text of at most {limit} characters.")
    return value


def _line(inputs: Inputs, name: str, limit: int) -> str | None:
    """A text without line breaks and control characters."""
    text = _text(inputs, name, limit)
    return None if text is None else " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _judged(request: FhirRequest) -> Iterator[tuple[str, str, Json]]:
    """(Observation id, part, value) of each `observation`; `read_inputs` has found the body valid."""
    parameters = decode_json(request.body).get("parameter", ()) if request.body else ()
    judged = [each for each in parameters if each["name"] == "observation"]
    if len(judged) > MAX_OBSERVATIONS:
        raise InvalidInput(f"More than {MAX_OBSERVATIONS} observations.")
    for each in judged:
        parts = {part["name"]: part for part in each.get("part", ())}
        if len(parts) != 2 or len(each["part"]) != 2 or "reference" not in parts:
            raise InvalidInput("An 'observation' has the parts 'reference', and 'verdict' or 'value'.")
        reference = value_of(parts.pop("reference"))
        yield _observation_id(reference), *next(iter(parts.items()))


def _observation_id(reference: Json) -> str:
    text = reference.get("reference") if isinstance(reference, dict) else reference
    resource_type, _, id_ = str(text).rpartition("/")
    if resource_type.rpartition("/")[2] != "Observation" or not id_:
        raise InvalidInput("The part 'reference' refers to an Observation.")
    return id_


def _amendment(conclusion: str | None, judged: list[tuple[str, str, Json]]) -> Amendment:
    rejected, values = set[str](), dict[str, tuple[str, Any]]()
    for observation_id, name, part in judged:
        if observation_id in rejected or observation_id in values:
            raise InvalidInput("An Observation is judged once.")
        if name == "verdict" and value_of(part) == "reject":
            rejected.add(observation_id)
        elif name == "value" and (value := value_of(part)) is not None:
            element = next(key for key in part if key.startswith("value"))
            values[observation_id] = (element, value)
        else:
            raise InvalidInput("The verdict on an Observation is 'reject'; what is accepted needs none.")
    return Amendment(conclusion, frozenset(rejected), values)
