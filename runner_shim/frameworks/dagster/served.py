"""The names of the modules of which Dagster's gRPC server is made, and of those that its calls and runs import.

Owns names alone, in every spelling since 0.15: which of them a release has is found by importing them. The
supervisor has them preloaded where it does not know yet what an environment's locations import.
"""

__all__ = ["OF_A_RUN", "OF_INSTANCES", "OF_THE_SERVER"]

# That nothing but a run imports, in every release.
OF_A_RUN = "dagster._core.execution.plan.active"
OF_THE_SERVER = (
    "grpc",
    "grpc_health.v1.health",
    "dagster._cli.api",
    "dagster._cli.utils",
    "dagster._grpc.server",
    "dagster._grpc.impl",
    "dagster._core.storage.event_log",
    "dagster._core.workspace.autodiscovery",
    "structlog",
    "grpc._server",
    "multiprocessing.queues",
    "multiprocessing.synchronize",
    "multiprocessing.resource_tracker",
    "multiprocessing.connection",
    "concurrent.futures.thread",
)
OF_INSTANCES = (
    "dagster._core.instance.factory",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.storage.root",
    "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "dagster._core.storage.runs.sqlite.sqlite_run_storage",
    "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.defs_state.blob_storage_state_storage",
    "dagster._core.storage.migration.utils",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.run_coordinator.queued_run_coordinator",
    "dagster._core.run_coordinator.default_run_coordinator",
    "dagster._core.scheduler.scheduler",
    "dagster._core.secrets.env_file",
    "dagster._core.execution.api",
    "dagster._core.executor.child_process_executor",
    "watchdog.observers",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "alembic.config",
    "alembic.command",
    "alembic.script",
    "alembic.runtime.migration",
    "upath.implementations.local",
    "fsspec.implementations.local",
    OF_A_RUN,
)
