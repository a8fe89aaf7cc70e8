"""The jobs of Subscriptions."""

from fhir.subscriptions.deliver import deliver
from fhir.subscriptions.match import DELIVER
from server.kernel.jobs import Args, Handlers
from server.kernel.services import Services
from server.workflows.subscriptions.authority import authority_of


def subscription_handlers(services: Services) -> Handlers:
    """What the jobs do."""
    access_by = authority_of(services)

    async def tell(args: Args) -> None:
        await deliver(services, access_by, args["subscription"])

    return {DELIVER: tell}
