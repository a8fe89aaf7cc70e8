"""batch and transaction: a Bundle posted to the base (FHIR R4 http.html#transaction)."""

from collections.abc import Sequence

from fhir.bundles.answers import render
from fhir.bundles.batch import process_batch
from fhir.bundles.read import BundleType, read_bundle
from fhir.bundles.transaction import process_transaction
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.door import Door
from fhir.interactions.provenance import refuse_provenance
from fhir.operations.operation import Operation

MAX_BUNDLE_BYTES = 64 << 20  # of one Bundle to be processed


async def process_bundle(door: Door, operations: Sequence[Operation], request: FhirRequest) -> Answer:
    """The response Bundle; 200 also when entries of a batch failed.

    Raises:
        InvalidJson, InvalidResource, TooLarge: the Bundle itself.
        EntryFailed: an entry of a transaction.
    """
    kind, asked = read_bundle(request.body)
    if kind is BundleType.TRANSACTION:
        done = await process_transaction(door, operations, request, asked)
    else:
        refuse_provenance(request)
        done = await process_batch(door, operations, request, asked)
    return Answer(text=render(kind, done))
