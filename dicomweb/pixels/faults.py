"""What can be wrong with pixel data; texts name attributes and codings, never values of a patient."""

from server.kernel.faults import Fault, FaultKind


class PixelsUnreadable(Fault):
    """The pixels cannot be decoded, or not be coded as asked: their attributes or their bytes forbid it."""

    kind = FaultKind.UNPROCESSABLE
