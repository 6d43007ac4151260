from server.pb.admittance.v1 import admission_pb2 as _admission_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CircuitState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CIRCUIT_STATE_UNSPECIFIED: _ClassVar[CircuitState]
    CIRCUIT_STATE_CLOSED: _ClassVar[CircuitState]
    CIRCUIT_STATE_HALF_OPEN: _ClassVar[CircuitState]
    CIRCUIT_STATE_OPEN: _ClassVar[CircuitState]
    CIRCUIT_STATE_FORCED_OPEN: _ClassVar[CircuitState]
    CIRCUIT_STATE_FORCED_CLOSED: _ClassVar[CircuitState]

class ApplyMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPLY_MODE_UNSPECIFIED: _ClassVar[ApplyMode]
    APPLY_MODE_VALIDATE: _ClassVar[ApplyMode]
    APPLY_MODE_APPLY: _ClassVar[ApplyMode]

class OverrideState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERRIDE_STATE_UNSPECIFIED: _ClassVar[OverrideState]
    OVERRIDE_STATE_NONE: _ClassVar[OverrideState]
    OVERRIDE_STATE_FORCED_OPEN: _ClassVar[OverrideState]
    OVERRIDE_STATE_FORCED_CLOSED: _ClassVar[OverrideState]
    OVERRIDE_STATE_SHADOW: _ClassVar[OverrideState]
CIRCUIT_STATE_UNSPECIFIED: CircuitState
CIRCUIT_STATE_CLOSED: CircuitState
CIRCUIT_STATE_HALF_OPEN: CircuitState
CIRCUIT_STATE_OPEN: CircuitState
CIRCUIT_STATE_FORCED_OPEN: CircuitState
CIRCUIT_STATE_FORCED_CLOSED: CircuitState
APPLY_MODE_UNSPECIFIED: ApplyMode
APPLY_MODE_VALIDATE: ApplyMode
APPLY_MODE_APPLY: ApplyMode
OVERRIDE_STATE_UNSPECIFIED: OverrideState
OVERRIDE_STATE_NONE: OverrideState
OVERRIDE_STATE_FORCED_OPEN: OverrideState
OVERRIDE_STATE_FORCED_CLOSED: OverrideState
OVERRIDE_STATE_SHADOW: OverrideState

class BreakerState(_message.Message):
    __slots__ = ("state", "generation", "calls", "failures", "retry_after_ms", "opened")
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    state: CircuitState
    generation: int
    calls: int
    failures: int
    retry_after_ms: int
    opened: int
    def __init__(self, state: _Optional[_Union[CircuitState, str]] = ..., generation: _Optional[int] = ..., calls: _Optional[int] = ..., failures: _Optional[int] = ..., retry_after_ms: _Optional[int] = ..., opened: _Optional[int] = ...) -> None: ...

class BulkheadState(_message.Message):
    __slots__ = ("in_use", "limit")
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    in_use: int
    limit: int
    def __init__(self, in_use: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class RateLimitState(_message.Message):
    __slots__ = ("remaining", "limit")
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    remaining: int
    limit: int
    def __init__(self, remaining: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class RuleState(_message.Message):
    __slots__ = ("rule", "parameters", "breaker", "bulkhead", "rate_limit", "override")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RULE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    BULKHEAD_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    rule: _admission_pb2.Rule
    parameters: _containers.ScalarMap[str, str]
    breaker: BreakerState
    bulkhead: BulkheadState
    rate_limit: RateLimitState
    override: OverrideStatus
    def __init__(self, rule: _Optional[_Union[_admission_pb2.Rule, str]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., breaker: _Optional[_Union[BreakerState, _Mapping]] = ..., bulkhead: _Optional[_Union[BulkheadState, _Mapping]] = ..., rate_limit: _Optional[_Union[RateLimitState, _Mapping]] = ..., override: _Optional[_Union[OverrideStatus, _Mapping]] = ...) -> None: ...

class ReasonCount(_message.Message):
    __slots__ = ("reason", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: _admission_pb2.Reason
    count: int
    def __init__(self, reason: _Optional[_Union[_admission_pb2.Reason, str]] = ..., count: _Optional[int] = ...) -> None: ...

class PolicyCounters(_message.Message):
    __slots__ = ("admitted", "refused", "success", "failure", "ignored", "voided", "duration_us")
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELD_NUMBER: _ClassVar[int]
    VOIDED_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    admitted: int
    refused: _containers.RepeatedCompositeFieldContainer[ReasonCount]
    success: int
    failure: int
    ignored: int
    voided: int
    duration_us: int
    def __init__(self, admitted: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[ReasonCount, _Mapping]]] = ..., success: _Optional[int] = ..., failure: _Optional[int] = ..., ignored: _Optional[int] = ..., voided: _Optional[int] = ..., duration_us: _Optional[int] = ...) -> None: ...

class PolicyStatus(_message.Message):
    __slots__ = ("name", "version", "rules", "counters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    rules: _containers.RepeatedCompositeFieldContainer[RuleState]
    counters: PolicyCounters
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., rules: _Optional[_Iterable[_Union[RuleState, _Mapping]]] = ..., counters: _Optional[_Union[PolicyCounters, _Mapping]] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies", "next_page_token", "config_version")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[PolicyStatus]
    next_page_token: str
    config_version: int
    def __init__(self, policies: _Optional[_Iterable[_Union[PolicyStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., config_version: _Optional[int] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: PolicyStatus
    def __init__(self, policy: _Optional[_Union[PolicyStatus, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: _admission_pb2.AdmitRequest
    def __init__(self, request: _Optional[_Union[_admission_pb2.AdmitRequest, _Mapping]] = ...) -> None: ...

class RuleVerdict(_message.Message):
    __slots__ = ("rule", "admits", "reason", "retry_after_ms", "detail")
    RULE_FIELD_NUMBER: _ClassVar[int]
    ADMITS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    rule: _admission_pb2.Rule
    admits: bool
    reason: _admission_pb2.Reason
    retry_after_ms: int
    detail: str
    def __init__(self, rule: _Optional[_Union[_admission_pb2.Rule, str]] = ..., admits: bool = ..., reason: _Optional[_Union[_admission_pb2.Reason, str]] = ..., retry_after_ms: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("verdict", "rules")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    verdict: _admission_pb2.AdmitResponse
    rules: _containers.RepeatedCompositeFieldContainer[RuleVerdict]
    def __init__(self, verdict: _Optional[_Union[_admission_pb2.AdmitResponse, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[RuleVerdict, _Mapping]]] = ...) -> None: ...

class ApplyConfigRequest(_message.Message):
    __slots__ = ("toml", "mode", "expected_version")
    TOML_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    toml: str
    mode: ApplyMode
    expected_version: int
    def __init__(self, toml: _Optional[str] = ..., mode: _Optional[_Union[ApplyMode, str]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class Complaint(_message.Message):
    __slots__ = ("key", "value", "message")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    message: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ApplyConfigResponse(_message.Message):
    __slots__ = ("complaints", "applied", "config_version")
    COMPLAINTS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    complaints: _containers.RepeatedCompositeFieldContainer[Complaint]
    applied: bool
    config_version: int
    def __init__(self, complaints: _Optional[_Iterable[_Union[Complaint, _Mapping]]] = ..., applied: bool = ..., config_version: _Optional[int] = ...) -> None: ...

class OverrideStatus(_message.Message):
    __slots__ = ("state", "ttl_ms", "reason")
    STATE_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    state: OverrideState
    ttl_ms: int
    reason: str
    def __init__(self, state: _Optional[_Union[OverrideState, str]] = ..., ttl_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class OverrideRequest(_message.Message):
    __slots__ = ("policy", "rule", "state", "ttl_ms", "reason")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    policy: str
    rule: _admission_pb2.Rule
    state: OverrideState
    ttl_ms: int
    reason: str
    def __init__(self, policy: _Optional[str] = ..., rule: _Optional[_Union[_admission_pb2.Rule, str]] = ..., state: _Optional[_Union[OverrideState, str]] = ..., ttl_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class OverrideResponse(_message.Message):
    __slots__ = ("replaced",)
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    replaced: OverrideStatus
    def __init__(self, replaced: _Optional[_Union[OverrideStatus, _Mapping]] = ...) -> None: ...

class SetFeatureRequest(_message.Message):
    __slots__ = ("feature", "enabled", "rollout", "ttl_ms", "reason")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    feature: str
    enabled: bool
    rollout: int
    ttl_ms: int
    reason: str
    def __init__(self, feature: _Optional[str] = ..., enabled: bool = ..., rollout: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class SetFeatureResponse(_message.Message):
    __slots__ = ("was_enabled",)
    WAS_ENABLED_FIELD_NUMBER: _ClassVar[int]
    was_enabled: bool
    def __init__(self, was_enabled: bool = ...) -> None: ...

class ChaosLatency(_message.Message):
    __slots__ = ("delay_ms", "variance_ms")
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_MS_FIELD_NUMBER: _ClassVar[int]
    delay_ms: int
    variance_ms: int
    def __init__(self, delay_ms: _Optional[int] = ..., variance_ms: _Optional[int] = ...) -> None: ...

class ChaosError(_message.Message):
    __slots__ = ("grpc_status",)
    GRPC_STATUS_FIELD_NUMBER: _ClassVar[int]
    grpc_status: int
    def __init__(self, grpc_status: _Optional[int] = ...) -> None: ...

class ChaosAbort(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChaosHang(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartChaosRequest(_message.Message):
    __slots__ = ("name", "policies", "probability", "latency", "error", "abort", "hang", "start_after_ms", "ttl_ms", "keys", "max_active", "seed", "dry_run", "min_success_rate", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    HANG_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    MIN_SUCCESS_RATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    policies: _containers.RepeatedScalarFieldContainer[str]
    probability: float
    latency: ChaosLatency
    error: ChaosError
    abort: ChaosAbort
    hang: ChaosHang
    start_after_ms: int
    ttl_ms: int
    keys: int
    max_active: int
    seed: int
    dry_run: bool
    min_success_rate: float
    reason: str
    def __init__(self, name: _Optional[str] = ..., policies: _Optional[_Iterable[str]] = ..., probability: _Optional[float] = ..., latency: _Optional[_Union[ChaosLatency, _Mapping]] = ..., error: _Optional[_Union[ChaosError, _Mapping]] = ..., abort: _Optional[_Union[ChaosAbort, _Mapping]] = ..., hang: _Optional[_Union[ChaosHang, _Mapping]] = ..., start_after_ms: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., keys: _Optional[int] = ..., max_active: _Optional[int] = ..., seed: _Optional[int] = ..., dry_run: bool = ..., min_success_rate: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class StartChaosResponse(_message.Message):
    __slots__ = ("experiment_id", "seed")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    experiment_id: int
    seed: int
    def __init__(self, experiment_id: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class StopChaosRequest(_message.Message):
    __slots__ = ("experiment_id", "reason")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    experiment_id: int
    reason: str
    def __init__(self, experiment_id: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class StopChaosResponse(_message.Message):
    __slots__ = ("injections",)
    INJECTIONS_FIELD_NUMBER: _ClassVar[int]
    injections: int
    def __init__(self, injections: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("prefix", "after_event", "snapshot_every_ms")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_EVENT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_EVERY_MS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    after_event: int
    snapshot_every_ms: int
    def __init__(self, prefix: _Optional[str] = ..., after_event: _Optional[int] = ..., snapshot_every_ms: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("number", "age_ms", "policy", "rule", "kind", "detail")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    number: int
    age_ms: int
    policy: str
    rule: _admission_pb2.Rule
    kind: str
    detail: str
    def __init__(self, number: _Optional[int] = ..., age_ms: _Optional[int] = ..., policy: _Optional[str] = ..., rule: _Optional[_Union[_admission_pb2.Rule, str]] = ..., kind: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class PolicySnapshot(_message.Message):
    __slots__ = ("policies", "config_version")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[PolicyStatus]
    config_version: int
    def __init__(self, policies: _Optional[_Iterable[_Union[PolicyStatus, _Mapping]]] = ..., config_version: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("event", "snapshot")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    event: Event
    snapshot: PolicySnapshot
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ..., snapshot: _Optional[_Union[PolicySnapshot, _Mapping]] = ...) -> None: ...
