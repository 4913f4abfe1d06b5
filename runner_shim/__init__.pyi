"""Types of the definitions API for editors and type checkers; docs/definitions.md explains it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar, Literal, overload

__version__: str
__all__: list[str]

class InvalidDefinitionError(Exception):
    message: str
    file: str | None
    line: int | None
    hint: str | None
    kind: str

class _Definition:
    KIND: ClassVar[str]
    name: str
    source: list[Any] | None
    @property
    def description(self) -> str | None: ...

class Field:
    def __init__(
        self,
        type: Any,
        default_value: Any = ...,
        is_required: bool | None = None,
        description: str | None = None,
    ) -> None: ...

class In:
    def __init__(self, type: Any = ..., description: str | None = None) -> None: ...

class Out:
    def __init__(
        self,
        type: Any = ...,
        description: str | None = None,
        is_dynamic: bool = False,
        is_required: bool = True,
    ) -> None: ...

class Output:
    value: Any
    output_name: str | None
    metadata: Mapping[str, Any]
    def __init__(
        self,
        value: Any,
        output_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None: ...

class Failure(Exception):
    description: str | None
    metadata: Mapping[str, Any]
    allow_retries: bool
    def __init__(
        self,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        allow_retries: bool = True,
    ) -> None: ...

class RetryRequested(Exception):
    max_retries: int
    seconds_to_wait: float
    def __init__(self, max_retries: int = 1, seconds_to_wait: float | None = None) -> None: ...

class RetryPolicy:
    max_retries: int
    delay: float
    backoff: Literal["constant", "linear", "exponential"]
    def __init__(
        self,
        max_retries: int = 1,
        delay: float = 0,
        backoff: Literal["constant", "linear", "exponential"] = "constant",
    ) -> None: ...
    def seconds(self, number: int) -> float: ...

class _Log:
    def log(self, level: int | str, message: object, *arguments: object) -> None: ...
    def debug(self, message: object, *arguments: object) -> None: ...
    def info(self, message: object, *arguments: object) -> None: ...
    def warning(self, message: object, *arguments: object) -> None: ...
    def warn(self, message: object, *arguments: object) -> None: ...
    def error(self, message: object, *arguments: object) -> None: ...
    def exception(self, message: object, *arguments: object) -> None: ...
    def critical(self, message: object, *arguments: object) -> None: ...

class _Resources:
    def __getattr__(self, name: str) -> Any: ...

class Context:
    """The first parameter of ops, assets and resources; what does not apply is None."""

    run_id: str
    job_name: str
    op_name: str
    step_key: str
    op_config: Any
    job_config: Any
    run_config: dict[str, Any]
    resource_config: Any
    resources: _Resources
    log: _Log
    tags: dict[str, str]
    run_tags: dict[str, str]
    op_tags: dict[str, str]
    partition_key: str | None
    asset_key: str | None
    retry_number: int
    cursor: str | None
    scheduled_execution_time: datetime
    last_run_key: str | None
    last_tick_completion_time: float | None
    def update_cursor(self, cursor: str | None) -> None: ...
    @property
    def has_partition_key(self) -> bool: ...
    def add_output_metadata(
        self, metadata: Mapping[str, Any], output_name: str | None = None
    ) -> None: ...

class _Node(_Definition):
    def __call__(self, *positional: Any, **named: Any) -> Any: ...
    def alias(self, name: str) -> Callable[..., Any]: ...

class OpDefinition(_Node):
    def __init__(
        self,
        compute_fn: _F,
        name: str | None = None,
        description: str | None = None,
        ins: Mapping[str, Any] | None = None,
        out: Any = None,
        required_resource_keys: Iterable[str] | None = None,
        config_schema: _Config | None = None,
        tags: _Tags | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None: ...

class GraphDefinition(_Node):
    def __init__(
        self,
        compose_fn: _F,
        name: str | None = None,
        description: str | None = None,
        tags: _Tags | None = None,
    ) -> None: ...
    def to_job(
        self,
        name: str | None = None,
        *,
        description: str | None = None,
        tags: _Tags | None = None,
        owners: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        resource_defs: Mapping[str, Any] | None = None,
        required_resource_keys: Iterable[str] | None = None,
        config_schema: _Config | None = None,
        partitions_def: _Partitions | None = None,
        run_tags: _Tags | None = None,
        max_concurrent: int | None = None,
    ) -> JobDefinition: ...

class JobDefinition(_Definition):
    def __init__(
        self,
        name: str,
        graph: GraphDefinition | None = None,
        ops: Iterable[OpDefinition | GraphDefinition] | None = None,
        description: str | None = None,
        tags: _Tags | None = None,
        owners: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        resource_defs: Mapping[str, Any] | None = None,
        required_resource_keys: Iterable[str] | None = None,
        config_schema: _Config | None = None,
        partitions_def: _Partitions | None = None,
        run_tags: _Tags | None = None,
        max_concurrent: int | None = None,
    ) -> None: ...

class AssetDefinition(_Definition):
    def __init__(
        self,
        name: str,
        compute_fn: _F | None = None,
        key_prefix: str | Sequence[str] | None = None,
        deps: Iterable[_Key] | None = None,
        group_name: str | None = None,
        description: str | None = None,
        tags: _Tags | None = None,
        owners: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        kinds: Iterable[str] | None = None,
        compute_kind: str | None = None,
        code_version: str | None = None,
        partitions_def: _Partitions | None = None,
        required_resource_keys: Iterable[str] | None = None,
        config_schema: _Config | None = None,
        io_manager_key: str | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None: ...
    def __call__(self, *positional: Any, **named: Any) -> Any: ...

class ScheduleDefinition(_Definition):
    def __init__(
        self,
        name: str | None = None,
        cron_schedule: str | Sequence[str] | None = None,
        job: _Jobs | None = None,
        job_name: str | None = None,
        run_config: Mapping[str, Any] | Callable[..., Any] | None = None,
        execution_fn: _F | None = None,
        execution_timezone: str | None = None,
        description: str | None = None,
        tags: _Tags | None = None,
        owners: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        default_status: Any = None,
        environment_vars: Iterable[str] | None = None,
        mode: str | None = None,
        catch_up: Literal["last", "none", "all"] | None = None,
        overlap: Literal["skip", "queue", "allow"] | None = None,
    ) -> None: ...
    def __call__(self, *positional: Any, **named: Any) -> Any: ...

class SensorDefinition(_Definition):
    def __init__(
        self,
        name: str | None = None,
        evaluation_fn: _F | None = None,
        job: _Jobs | None = None,
        jobs: Iterable[_Jobs] | None = None,
        job_name: str | None = None,
        minimum_interval_seconds: float | None = None,
        description: str | None = None,
        tags: _Tags | None = None,
        owners: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        default_status: Any = None,
    ) -> None: ...
    def __call__(self, *positional: Any, **named: Any) -> Any: ...

class ResourceDefinition(_Definition):
    def __init__(
        self,
        name: str,
        resource_fn: _F | None = None,
        description: str | None = None,
        config_schema: _Config | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None: ...
    def __call__(self, *positional: Any, **named: Any) -> Any: ...

class PartitionSetDefinition(_Definition):
    def __init__(
        self,
        name: str,
        job: _Jobs | None = None,
        job_name: str | None = None,
        pipeline_name: str | None = None,
        partitions: _Partitions | None = None,
        partition_fn: _F | None = None,
        mode: str | None = None,
        description: str | None = None,
        tags: _Tags | None = None,
    ) -> None: ...

class StaticPartitionsDefinition:
    def __init__(self, partition_keys: Iterable[str]) -> None: ...

class DynamicPartitionsDefinition:
    def __init__(self, name: str) -> None: ...

class TimeWindowPartitionsDefinition:
    def __init__(
        self,
        cron_schedule: str,
        start: str | date,
        end: str | date | None = None,
        timezone: str | None = None,
        fmt: str | None = None,
    ) -> None: ...

class Definitions:
    def __init__(
        self,
        jobs: Iterable[JobDefinition | GraphDefinition] | None = None,
        assets: Iterable[AssetDefinition] | None = None,
        schedules: Iterable[ScheduleDefinition] | None = None,
        sensors: Iterable[SensorDefinition] | None = None,
        resources: Mapping[str, Any] | None = None,
        partition_sets: Iterable[PartitionSetDefinition] | None = None,
    ) -> None: ...

class RepositoryDefinition(_Definition):
    def __init__(
        self,
        name: str,
        definitions: Iterable[Any] | Mapping[str, Mapping[str, Any]],
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None: ...

class RunRequest:
    run_key: str | None
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]
    job_name: str | None
    partition_key: str | None
    def __init__(
        self,
        run_key: str | None = None,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        job_name: str | None = None,
        partition_key: str | None = None,
    ) -> None: ...

class SkipReason:
    skip_message: str | None
    def __init__(self, skip_message: str | None = None) -> None: ...

class DefaultScheduleStatus:
    RUNNING: ClassVar[str]
    STOPPED: ClassVar[str]

class DefaultSensorStatus(DefaultScheduleStatus): ...

@overload
def op(name: _F) -> OpDefinition: ...
@overload
def op(
    name: str | None = None,
    *,
    description: str | None = None,
    ins: Mapping[str, Any] | None = None,
    out: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    config_schema: _Config | None = None,
    tags: _Tags | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Callable[[_F], OpDefinition]: ...
@overload
def graph(name: _F) -> GraphDefinition: ...
@overload
def graph(
    name: str | None = None, *, description: str | None = None, tags: _Tags | None = None
) -> Callable[[_F], GraphDefinition]: ...
@overload
def job(name: _F) -> JobDefinition: ...
@overload
def job(
    name: str | None = None,
    *,
    description: str | None = None,
    tags: _Tags | None = None,
    owners: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    resource_defs: Mapping[str, Any] | None = None,
    required_resource_keys: Iterable[str] | None = None,
    config_schema: _Config | None = None,
    partitions_def: _Partitions | None = None,
    run_tags: _Tags | None = None,
    max_concurrent: int | None = None,
) -> Callable[[_F], JobDefinition]: ...
@overload
def asset(name: _F) -> AssetDefinition: ...
@overload
def asset(
    name: str | None = None,
    *,
    key_prefix: str | Sequence[str] | None = None,
    deps: Iterable[_Key] | None = None,
    group_name: str | None = None,
    description: str | None = None,
    tags: _Tags | None = None,
    owners: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    kinds: Iterable[str] | None = None,
    compute_kind: str | None = None,
    code_version: str | None = None,
    partitions_def: _Partitions | None = None,
    required_resource_keys: Iterable[str] | None = None,
    config_schema: _Config | None = None,
    io_manager_key: str | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Callable[[_F], AssetDefinition]: ...
def schedule(
    cron_schedule: str | Sequence[str],
    job: _Jobs | None = None,
    name: str | None = None,
    *,
    job_name: str | None = None,
    execution_timezone: str | None = None,
    description: str | None = None,
    tags: _Tags | None = None,
    owners: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    default_status: Any = None,
    environment_vars: Iterable[str] | None = None,
    mode: str | None = None,
    catch_up: Literal["last", "none", "all"] | None = None,
    overlap: Literal["skip", "queue", "allow"] | None = None,
) -> Callable[[_F], ScheduleDefinition]: ...
@overload
def sensor(
    job: JobDefinition | GraphDefinition | str | None = None,
    name: str | None = None,
    *,
    jobs: Iterable[_Jobs] | None = None,
    job_name: str | None = None,
    minimum_interval_seconds: float | None = None,
    description: str | None = None,
    tags: _Tags | None = None,
    owners: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    default_status: Any = None,
) -> Callable[[_F], SensorDefinition]: ...
@overload
def sensor(job: _F) -> SensorDefinition: ...
@overload
def resource(name: _F) -> ResourceDefinition: ...
@overload
def resource(
    name: str | None = None,
    *,
    description: str | None = None,
    config_schema: _Config | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[_F], ResourceDefinition]: ...
@overload
def repository(name: _F) -> RepositoryDefinition: ...
@overload
def repository(
    name: str | None = None,
    *,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[_F], RepositoryDefinition]: ...

_F = Callable[..., Any]
_Tags = Mapping[str, Any]
_Config = Mapping[str, Any] | type | Field | str
_Jobs = JobDefinition | GraphDefinition | str
_Key = str | Sequence[str] | AssetDefinition
_Partitions = (
    StaticPartitionsDefinition
    | DynamicPartitionsDefinition
    | TimeWindowPartitionsDefinition
    | Sequence[str]
    | str
)
