"""What an EHR says to prepare a launch, read (SMART 2.2, Scopes and Launch Context). Pure."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dicomweb.wire.instance import is_uid
from server.auth.grants.context import LaunchContext
from server.kernel.faults import Fault
from server.workflows.launches.prepare import Wanted

MAX_FHIR_CONTEXT = 20  # resources beside the patient
MAX_CLIENT_ID = 255  # characters
MAX_WORD = 200  # characters of intent and role
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR R4 datatypes.html#id
_REFERENCE = re.compile(r"([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}")
_OF_THEIR_OWN = frozenset({"Patient", "Encounter"})  # told as parameters, unless they have another role


class InvalidLaunch(Fault):
    """The body does not say what a launch brings."""


class _Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member of fhirContext; those without a reference are not kept here."""

    reference: str
    type: str | None = None
    role: str | None = None


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By the names that the app is told."""

    client_id: str
    user: str | None = None
    patient: str | None = None
    encounter: str | None = None
    study: str | None = None
    fhir_context: tuple[_Context, ...] = msgspec.field(default=(), name="fhirContext")
    intent: str | None = None
    need_patient_banner: bool = True


def read_launch(body: bytes) -> Wanted:
    """The launch that a body describes.

    Raises:
        InvalidLaunch: it has other members, or one that cannot be.
    """
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise InvalidLaunch(f"The body cannot be taken: {reason}.") from error
    for name in ("patient", "encounter"):
        value = getattr(said, name)
        if value is not None and not _ID.fullmatch(value):
            raise InvalidLaunch(f"'{name}' is no FHIR id.")
    if said.study is not None and not is_uid(said.study):
        raise InvalidLaunch("'study' is no Study Instance UID.")
    if not 0 < len(said.client_id) <= MAX_CLIENT_ID or not said.client_id.isprintable():
        raise InvalidLaunch("'client_id' is none.")
    _require_word("intent", said.intent)
    if len(said.fhir_context) > MAX_FHIR_CONTEXT:
        raise InvalidLaunch(f"'fhirContext' has more than {MAX_FHIR_CONTEXT} members.")
    context = LaunchContext(
        said.encounter, tuple(map(_kept, said.fhir_context)), said.intent, said.need_patient_banner
    )
    return Wanted(said.client_id, said.user, said.patient, said.study, context)


def _kept(each: _Context) -> Mapping[str, Any]:
    found = _REFERENCE.fullmatch(each.reference)
    if found is None or each.type not in (None, found[1]):
        raise InvalidLaunch("'fhirContext.reference' is a relative reference, such as ImagingStudy/1.")
    _require_word("fhirContext.role", each.role)
    if found[1] in _OF_THEIR_OWN and each.role in (None, "launch"):
        raise InvalidLaunch(f"A {found[1]} stands in fhirContext only in a role of its own.")
    kept: dict[str, Any] = msgspec.to_builtins(each)
    return kept


def _require_word(name: str, word: str | None) -> None:
    if word is not None and not (0 < len(word) <= MAX_WORD and word.isprintable()):
        raise InvalidLaunch(f"'{name}' has 1 to {MAX_WORD} printable characters.")
