"""What an app learns of where it was launched (SMART App Launch 2.2, Scopes and Launch Context)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """What stands beside the patient; `fhir_context` has objects with a `reference`, and maybe a `role`."""

    encounter_id: str | None = None
    fhir_context: tuple[Mapping[str, str], ...] = ()
    intent: str | None = None
    need_patient_banner: bool = True

    def to_json(self) -> str:
        """As it is kept in a row."""
        return orjson.dumps(
            {
                "encounter": self.encounter_id,
                "fhirContext": list(self.fhir_context),
                "intent": self.intent,
                "banner": self.need_patient_banner,
            }
        ).decode()

    def as_parameters(self, style_url: str | None) -> dict[str, Any]:
        """The members of a token response; what there is nothing of is left out."""
        told: dict[str, Any] = {"need_patient_banner": self.need_patient_banner}
        if style_url is not None:
            told["smart_style_url"] = style_url
        if self.encounter_id is not None:
            told["encounter"] = self.encounter_id
        if self.fhir_context:
            told["fhirContext"] = [dict(each) for each in self.fhir_context]
        if self.intent is not None:
            told["intent"] = self.intent
        return told


def read_context(text: str) -> LaunchContext:
    """The context of a row."""
    kept = orjson.loads(text)
    return LaunchContext(
        kept.get("encounter"),
        tuple(kept.get("fhirContext", ())),
        kept.get("intent"),
        kept.get("banner", True),
    )
