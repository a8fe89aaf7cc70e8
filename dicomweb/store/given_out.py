"""A file that comes back as it was given out, corrected, is no other content (DESIGN §5, Corrections).

Its data set is compared with what would be given out now, by digest. One that was given out before the last
correction is another data set, as any other is.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.response_codes import StoreFailure
from dicomweb.retrieve.locate import Resource, locate
from dicomweb.retrieve.overlaid import open_overlaid
from dicomweb.retrieve.request import Archive
from dicomweb.store.instances import ReceivedInstance, Refusal
from dicomweb.store.judgement import Verdict
from dicomweb.wire.splice import NotInCharacterSet
from server.kernel.access import EVERYONE
from server.kernel.faults import NotFound
from server.kernel.object_store import DamagedObject


def is_another(verdict: Verdict | Refusal) -> bool:
    """Whether another data set is stored under the UID."""
    if isinstance(verdict, Refusal):
        return verdict.reason is StoreFailure.DUPLICATE_SOP_INSTANCE
    return verdict is Verdict.REPLACES


@dataclass(frozen=True, slots=True)
class GivenOut:
    """Knows what the archive gives out."""

    archive: Archive

    async def gave_out(self, received: ReceivedInstance) -> bool:
        """Whether this is the data set that the archive gives out under its UID.

        The caller has judged that the instance may be known to who stores.
        """
        parsed = received.parsed
        uids = (parsed.study_instance_uid, parsed.series_instance_uid, parsed.sop_instance_uid)
        try:
            (located,) = await locate(self.archive.services.database, Resource(*uids), EVERYONE)
            if located.overlay is None or located.transfer_syntax_uid != parsed.transfer_syntax_uid:
                return False
            file = await open_overlaid(self.archive, located)
            if file.length is not None:
                wanted = received.length - parsed.data_set_offset
                if file.length - file.data_set_offset != wanted:
                    return False
            content = await file.content()
            return await _digest(content, file.data_set_offset) == received.digests.data_set_sha256
        except (NotFound, DamagedObject, PixelsUnreadable, NotInCharacterSet):
            return False


async def _digest(content: bytes | AsyncIterator[bytes], skipped: int) -> bytes:
    """SHA-256 of a content without its first bytes."""
    if isinstance(content, bytes):
        return sha256(content[skipped:]).digest()
    digest, left = sha256(), skipped
    async for chunk in content:
        digest.update(chunk[left:])
        left -= min(left, len(chunk))
    return digest.digest()
