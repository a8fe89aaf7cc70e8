"""Where the server's terminology is found: what is stored, large code systems, what ships, and grammars."""

from fhir.interactions.door import Definitions
from fhir.interactions.stored_definitions import StoredDefinitions
from server.kernel.database import Database
from terminology import shipped
from terminology.library import Library
from terminology.releases.kinds import RULES
from terminology.releases.loinc import LoincValueSets
from terminology.releases.source import Releases
from terminology.snomed.implicit import ImplicitDefinitions


def definitions_beside(database: Database) -> Definitions:
    """What the FHIR door knows beside the resources that are stored.

    A large code system that is imported leaves a resource without its concepts: its release goes before.
    """
    releases = Releases(database, RULES)
    implicit = (ImplicitDefinitions(releases), LoincValueSets(releases))
    return Definitions(before=(releases, *implicit), after=shipped.sources())


def terms_of(database: Database) -> Library:
    """The same, with what is stored, for whoever is no request of the door."""
    beside = definitions_beside(database)
    return Library((*beside.before, StoredDefinitions(database), *beside.after))
