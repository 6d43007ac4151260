from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_ADMITTED: _ClassVar[Decision]
    DECISION_REFUSED: _ClassVar[Decision]
    DECISION_DEGRADED: _ClassVar[Decision]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_RATE_LIMITED: _ClassVar[Reason]
    REASON_BULKHEAD_FULL: _ClassVar[Reason]
    REASON_CIRCUIT_OPEN: _ClassVar[Reason]
    REASON_SHED: _ClassVar[Reason]
    REASON_DEGRADED: _ClassVar[Reason]
    REASON_RETRY_BUDGET: _ClassVar[Reason]
    REASON_DEADLINE: _ClassVar[Reason]
    REASON_CHAOS: _ClassVar[Reason]
    REASON_UNHEALTHY: _ClassVar[Reason]
    REASON_UNKNOWN_POLICY: _ClassVar[Reason]
    REASON_INVALID: _ClassVar[Reason]

class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RULE_UNSPECIFIED: _ClassVar[Rule]
    RULE_RATE_LIMIT: _ClassVar[Rule]
    RULE_BULKHEAD: _ClassVar[Rule]
    RULE_BREAKER: _ClassVar[Rule]
    RULE_SHEDDER: _ClassVar[Rule]
    RULE_RETRY_BUDGET: _ClassVar[Rule]
    RULE_FEATURE: _ClassVar[Rule]
    RULE_CHAOS: _ClassVar[Rule]
    RULE_HEALTH: _ClassVar[Rule]
    RULE_THROTTLE: _ClassVar[Rule]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_CRITICAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_SHEDDABLE: _ClassVar[Priority]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_ENFORCE: _ClassVar[Mode]
    MODE_PEEK: _ClassVar[Mode]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_SUCCESS: _ClassVar[Outcome]
    OUTCOME_FAILURE: _ClassVar[Outcome]
    OUTCOME_IGNORED: _ClassVar[Outcome]

class ReportResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_RESULT_UNSPECIFIED: _ClassVar[ReportResult]
    REPORT_RESULT_SETTLED: _ClassVar[ReportResult]
    REPORT_RESULT_ALREADY_SETTLED: _ClassVar[ReportResult]
    REPORT_RESULT_VOID: _ClassVar[ReportResult]
    REPORT_RESULT_EXTENDED: _ClassVar[ReportResult]

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_LOCAL: _ClassVar[Source]
    SOURCE_LEASE: _ClassVar[Source]
    SOURCE_STORE: _ClassVar[Source]
    SOURCE_FALLBACK: _ClassVar[Source]
DECISION_UNSPECIFIED: Decision
DECISION_ADMITTED: Decision
DECISION_REFUSED: Decision
DECISION_DEGRADED: Decision
REASON_UNSPECIFIED: Reason
REASON_RATE_LIMITED: Reason
REASON_BULKHEAD_FULL: Reason
REASON_CIRCUIT_OPEN: Reason
REASON_SHED: Reason
REASON_DEGRADED: Reason
REASON_RETRY_BUDGET: Reason
REASON_DEADLINE: Reason
REASON_CHAOS: Reason
REASON_UNHEALTHY: Reason
REASON_UNKNOWN_POLICY: Reason
REASON_INVALID: Reason
RULE_UNSPECIFIED: Rule
RULE_RATE_LIMIT: Rule
RULE_BULKHEAD: Rule
RULE_BREAKER: Rule
RULE_SHEDDER: Rule
RULE_RETRY_BUDGET: Rule
RULE_FEATURE: Rule
RULE_CHAOS: Rule
RULE_HEALTH: Rule
RULE_THROTTLE: Rule
PRIORITY_UNSPECIFIED: Priority
PRIORITY_CRITICAL: Priority
PRIORITY_HIGH: Priority
PRIORITY_NORMAL: Priority
PRIORITY_LOW: Priority
PRIORITY_SHEDDABLE: Priority
MODE_UNSPECIFIED: Mode
MODE_ENFORCE: Mode
MODE_PEEK: Mode
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_SUCCESS: Outcome
OUTCOME_FAILURE: Outcome
OUTCOME_IGNORED: Outcome
REPORT_RESULT_UNSPECIFIED: ReportResult
REPORT_RESULT_SETTLED: ReportResult
REPORT_RESULT_ALREADY_SETTLED: ReportResult
REPORT_RESULT_VOID: ReportResult
REPORT_RESULT_EXTENDED: ReportResult
SOURCE_UNSPECIFIED: Source
SOURCE_LOCAL: Source
SOURCE_LEASE: Source
SOURCE_STORE: Source
SOURCE_FALLBACK: Source

class AdmitRequest(_message.Message):
    __slots__ = ("policy", "key", "cost", "priority", "attempt", "max_wait_ms", "hold_ms", "deadline_ms", "request_id", "mode", "revocable")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REVOCABLE_FIELD_NUMBER: _ClassVar[int]
    policy: str
    key: str
    cost: int
    priority: Priority
    attempt: int
    max_wait_ms: int
    hold_ms: int
    deadline_ms: int
    request_id: str
    mode: Mode
    revocable: bool
    def __init__(self, policy: _Optional[str] = ..., key: _Optional[str] = ..., cost: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., attempt: _Optional[int] = ..., max_wait_ms: _Optional[int] = ..., hold_ms: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., request_id: _Optional[str] = ..., mode: _Optional[_Union[Mode, str]] = ..., revocable: bool = ...) -> None: ...

class Injection(_message.Message):
    __slots__ = ("delay_ms", "grpc_status")
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    GRPC_STATUS_FIELD_NUMBER: _ClassVar[int]
    delay_ms: int
    grpc_status: int
    def __init__(self, delay_ms: _Optional[int] = ..., grpc_status: _Optional[int] = ...) -> None: ...

class AdmitResponse(_message.Message):
    __slots__ = ("decision", "reason", "permit", "retry_after_ms", "rule", "remaining", "limit", "level", "would_refuse", "inject", "policy_version", "source")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PERMIT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    WOULD_REFUSE_FIELD_NUMBER: _ClassVar[int]
    INJECT_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    reason: Reason
    permit: bytes
    retry_after_ms: int
    rule: Rule
    remaining: int
    limit: int
    level: int
    would_refuse: bool
    inject: Injection
    policy_version: int
    source: Source
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., permit: _Optional[bytes] = ..., retry_after_ms: _Optional[int] = ..., rule: _Optional[_Union[Rule, str]] = ..., remaining: _Optional[int] = ..., limit: _Optional[int] = ..., level: _Optional[int] = ..., would_refuse: bool = ..., inject: _Optional[_Union[Injection, _Mapping]] = ..., policy_version: _Optional[int] = ..., source: _Optional[_Union[Source, str]] = ...) -> None: ...

class AdmitBatchRequest(_message.Message):
    __slots__ = ("items", "all_or_nothing")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ALL_OR_NOTHING_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[AdmitRequest]
    all_or_nothing: bool
    def __init__(self, items: _Optional[_Iterable[_Union[AdmitRequest, _Mapping]]] = ..., all_or_nothing: bool = ...) -> None: ...

class AdmitBatchResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[AdmitResponse]
    def __init__(self, items: _Optional[_Iterable[_Union[AdmitResponse, _Mapping]]] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("permit", "outcome", "duration_us", "actual_cost", "extend_ms", "final")
    PERMIT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_COST_FIELD_NUMBER: _ClassVar[int]
    EXTEND_MS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    permit: bytes
    outcome: Outcome
    duration_us: int
    actual_cost: int
    extend_ms: int
    final: bool
    def __init__(self, permit: _Optional[bytes] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., duration_us: _Optional[int] = ..., actual_cost: _Optional[int] = ..., extend_ms: _Optional[int] = ..., final: bool = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("result", "revoked")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    result: ReportResult
    revoked: bool
    def __init__(self, result: _Optional[_Union[ReportResult, str]] = ..., revoked: bool = ...) -> None: ...

class ReportBatchRequest(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ReportRequest]
    def __init__(self, items: _Optional[_Iterable[_Union[ReportRequest, _Mapping]]] = ...) -> None: ...

class ReportBatchResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ReportResponse]
    def __init__(self, items: _Optional[_Iterable[_Union[ReportResponse, _Mapping]]] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("id", "admit", "report")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADMIT_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    id: int
    admit: AdmitRequest
    report: ReportRequest
    def __init__(self, id: _Optional[int] = ..., admit: _Optional[_Union[AdmitRequest, _Mapping]] = ..., report: _Optional[_Union[ReportRequest, _Mapping]] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("id", "admit", "report", "revoked")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADMIT_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    id: int
    admit: AdmitResponse
    report: ReportResponse
    revoked: bytes
    def __init__(self, id: _Optional[int] = ..., admit: _Optional[_Union[AdmitResponse, _Mapping]] = ..., report: _Optional[_Union[ReportResponse, _Mapping]] = ..., revoked: _Optional[bytes] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("policy", "key", "want", "lease_id", "used")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    policy: str
    key: str
    want: int
    lease_id: bytes
    used: int
    def __init__(self, policy: _Optional[str] = ..., key: _Optional[str] = ..., want: _Optional[int] = ..., lease_id: _Optional[bytes] = ..., used: _Optional[int] = ...) -> None: ...

class LeaseResponse(_message.Message):
    __slots__ = ("lease_id", "granted", "ttl_ms", "refresh_after_ms", "retry_after_ms", "safe_rate")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    SAFE_RATE_FIELD_NUMBER: _ClassVar[int]
    lease_id: bytes
    granted: int
    ttl_ms: int
    refresh_after_ms: int
    retry_after_ms: int
    safe_rate: float
    def __init__(self, lease_id: _Optional[bytes] = ..., granted: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., refresh_after_ms: _Optional[int] = ..., retry_after_ms: _Optional[int] = ..., safe_rate: _Optional[float] = ...) -> None: ...
