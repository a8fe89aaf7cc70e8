"""What is particular to writing a few resource types: rules that R4 gives on the page of the type."""

from collections.abc import Callable, Mapping

from fhir.binaries.content import BINARY
from fhir.binaries.stored import take_data
from fhir.interactions.write import Draft
from fhir.subscriptions.request import SUBSCRIPTION
from fhir.subscriptions.state import subscribe
from server.kernel.access import Access
from server.kernel.services import Services

Rule = Callable[[Draft, Access, Services], Draft]


def particular(draft: Draft, access: Access, services: Services) -> Draft:
    """The draft as it is to be written; it was found valid."""
    rule = _RULES.get(draft.type)
    return draft if rule is None else rule(draft, access, services)


def _subscription(draft: Draft, access: Access, services: Services) -> Draft:
    return subscribe(draft, access, services.subscriptions)


def _binary(draft: Draft, _access: Access, _services: Services) -> Draft:
    return take_data(draft)


_RULES: Mapping[str, Rule] = {BINARY: _binary, SUBSCRIPTION: _subscription}
