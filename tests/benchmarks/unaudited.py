"""The server without the audit of reads, for `audit_price.py` alone: no setting takes it away."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from server.kernel import metrics_folder

_share_metrics = metrics_folder.share_metrics


async def _nothing(_self: Any, _entry: Any) -> None:
    pass


def _share_and_forget() -> None:
    """As at any start; only then may be imported what counts."""
    _share_metrics()
    from server.kernel.read_audit import ReadAudit

    ReadAudit.record = ReadAudit.record_retrieval = _nothing  # type: ignore[method-assign]


if __name__ == "__main__":
    metrics_folder.share_metrics = _share_and_forget
    from server.cli import main

    main()
