"""Every error of the local database.

CopperplateError
├── ClusterError              the embedded Postgres
│   ├── PostgresMissing       no binaries of a supported version
│   ├── VersionMismatch       the data was written by another major version
│   ├── ClusterRunning        another process owns this data folder
│   ├── ClusterFailed         initdb or postgres ended with an error
│   ├── DiskFull              no space left for it
│   ├── DataFolderUnusable    a folder that we, or Postgres, cannot use
│   ├── SocketFolderRefused   no folder for the sockets is short and ours
│   ├── TcpPortTaken          the asked port is in use
│   └── OwnerUnreachable      the process that owns the cluster does not answer
└── MigrationError            the schema
    ├── DatabaseUnreachable   no connection
    ├── RolesMissing          not a Supabase-like database
    ├── MigrationsMissing     no folder with migrations
    ├── MigrationMisnamed     a file name without a version, or one version twice
    ├── MigrationEdited       an applied file has changed since
    ├── MigrationUnknown      applied, but there is no such file
    └── MigrationFailed       Postgres refused a statement
"""

from __future__ import annotations

from copperplate.errors import CopperplateError


class ClusterError(CopperplateError, code="cluster_error", status=503, title="The embedded database is not available"):
    """The embedded Postgres cannot do what was asked; the message says what to do."""


class PostgresMissing(ClusterError, code="postgres_missing"):
    """There are no Postgres binaries of a supported version."""


class VersionMismatch(ClusterError, code="postgres_version_mismatch"):
    """The data folder was written by another major version; it is left untouched."""


class ClusterRunning(ClusterError, code="cluster_running"):
    """Another process owns this data folder."""


class ClusterFailed(ClusterError, code="cluster_failed"):
    """`initdb` or `postgres` ended with an error; the message carries its last lines."""


class DiskFull(ClusterError, code="disk_full"):
    """There is no space left on the disk."""


class DataFolderUnusable(ClusterError, code="data_folder_unusable"):
    """A folder cannot be read, written or entered by whoever needs to."""


class SocketFolderRefused(ClusterError, code="socket_folder_refused"):
    """No folder for the sockets is short enough, reachable and ours alone."""


class TcpPortTaken(ClusterError, code="tcp_port_taken"):
    """Something else listens on the port that was asked for."""


class OwnerUnreachable(ClusterError, code="cluster_owner_unreachable"):
    """The process that owns the running cluster does not answer."""


class MigrationError(
    CopperplateError, code="migration_error", status=503, title="The database schema is not up to date"
):
    """The schema cannot be brought up to date; the message says what to do."""


class DatabaseUnreachable(MigrationError, code="database_unreachable"):
    """No connection to the database."""


class RolesMissing(MigrationError, code="roles_missing"):
    """The roles every Supabase database has do not exist here."""


class MigrationsMissing(MigrationError, code="migrations_missing"):
    """There is no folder with migrations."""


class MigrationMisnamed(MigrationError, code="migration_misnamed"):
    """A migration's file name has no version, or two files have the same one."""


class MigrationEdited(MigrationError, code="migration_edited"):
    """A migration was changed after it had been applied."""


class MigrationUnknown(MigrationError, code="migration_unknown"):
    """The database has a migration that there is no file for."""


class MigrationFailed(MigrationError, code="migration_failed"):
    """Postgres refused a statement; nothing of its file was kept."""
