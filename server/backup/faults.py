"""What can be wrong with a backup, a repository of backups, or the place to restore to."""

from server.kernel.faults import Fault, FaultKind


class NotABackup(Fault):
    """The folder is no repository of backups, or there is no such backup in it."""

    kind = FaultKind.NOT_FOUND


class WrongKey(Fault):
    """The repository is encrypted with another key, or it is and no key was given, or the other way round."""

    kind = FaultKind.FORBIDDEN


class RepositoryInUse(Fault):
    """Another backup, restore or prune works on the repository."""

    kind = FaultKind.CONFLICT


class DamagedBackup(Fault):
    """A file of the repository is not there or not what was written."""

    kind = FaultKind.INTERNAL


class NotRestorable(Fault):
    """The backup is not for this program, or the place to restore to is not empty."""

    kind = FaultKind.CONFLICT


class NotBackedUp(Fault):
    """The installation is in no state to be backed up."""

    kind = FaultKind.CONFLICT
