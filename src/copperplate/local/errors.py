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


class ClusterError(CopperplateError):
    """The embedded Postgres cannot do what was asked; the message says what to do."""

    code = "cluster_error"
    status = 503
    title = "The embedded database is not available"


class PostgresMissing(ClusterError):
    """There are no Postgres binaries of a supported version."""

    code = "postgres_missing"


class VersionMismatch(ClusterError):
    """The data folder was written by another major version; it is left untouched."""

    code = "postgres_version_mismatch"


class ClusterRunning(ClusterError):
    """Another process owns this data folder."""

    code = "cluster_running"


class ClusterFailed(ClusterError):
    """`initdb` or `postgres` ended with an error; the message carries its last lines."""

    code = "cluster_failed"


class DiskFull(ClusterError):
    """There is no space left on the disk."""

    code = "disk_full"


class DataFolderUnusable(ClusterError):
    """A folder cannot be read, written or entered by whoever needs to."""

    code = "data_folder_unusable"


class SocketFolderRefused(ClusterError):
    """No folder for the sockets is short enough, reachable and ours alone."""

    code = "socket_folder_refused"


class TcpPortTaken(ClusterError):
    """Something else listens on the port that was asked for."""

    code = "tcp_port_taken"


class OwnerUnreachable(ClusterError):
    """The process that owns the running cluster does not answer."""

    code = "cluster_owner_unreachable"


class MigrationError(CopperplateError):
    """The schema cannot be brought up to date; the message says what to do."""

    code = "migration_error"
    status = 503
    title = "The database schema is not up to date"


class DatabaseUnreachable(MigrationError):
    """No connection to the database."""

    code = "database_unreachable"


class RolesMissing(MigrationError):
    """The roles every Supabase database has do not exist here."""

    code = "roles_missing"


class MigrationsMissing(MigrationError):
    """There is no folder with migrations."""

    code = "migrations_missing"


class MigrationMisnamed(MigrationError):
    """A migration's file name has no version, or two files have the same one."""

    code = "migration_misnamed"


class MigrationEdited(MigrationError):
    """A migration was changed after it had been applied."""

    code = "migration_edited"


class MigrationUnknown(MigrationError):
    """The database has a migration that there is no file for."""

    code = "migration_unknown"


class MigrationFailed(MigrationError):
    """Postgres refused a statement; nothing of its file was kept."""

    code = "migration_failed"
