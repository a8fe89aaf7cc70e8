"""Setting aside what a Store request replaces (setting `duplicates`; decision 0021).

The old instance keeps its row and bytes, superseded, under a name that no UID can be and no path can hold:
its SOP Instance UID, a slash, and the key of its row. So it goes with its study, is packed, read again, and
backed up like any other, and no search or retrieval finds it.
"""

from sqlalchemy import ColumnElement, String, bindparam, cast, func, or_, update

from dicomweb.tables import Instance
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of

_C = table_of(Instance).c

_SET_ASIDE = (
    update(table_of(Instance))
    .where(_C.sop_instance_uid == bindparam("uid"))
    .values(
        sop_instance_uid=_C.sop_instance_uid + "/" + cast(_C.id, String),
        superseded_us=func.coalesce(_C.superseded_us, bindparam("now_us")),
    )
)


async def set_aside(unit: UnitOfWork, sop_instance_uid: str) -> None:
    """Free this UID for another data set. The caller holds the lock of the study."""
    await unit.execute(_SET_ASIDE, {"uid": sop_instance_uid, "now_us": unit.now_us})


def is_version_of(sop_instance_uid: str) -> ColumnElement[bool]:
    """The instance of this UID, and all that it replaced."""
    replaced = _C.sop_instance_uid.startswith(f"{sop_instance_uid}/", autoescape=True)
    return or_(_C.sop_instance_uid == sop_instance_uid, replaced)
