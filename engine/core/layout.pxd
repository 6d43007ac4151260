from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_word


cdef extern from "layout.h" nogil:
    const uint64_t ADM_LINE
    const uint64_t ADM_MAGIC
    const uint32_t ADM_VERSION
    const uint64_t ADM_READY
    const uint64_t ADM_NAME_MAX
    const uint32_t ADM_OWNERS_MAX
    const uint32_t ADM_ROWS_MAX
    const uint32_t ADM_REMOTE_MAX

    ctypedef struct adm_clock:
        adm_word ticking
        uint64_t multiplier
        uint64_t base_ticks
        int64_t base_ns

    ctypedef struct adm_header:
        uint64_t magic
        uint64_t layout_hash
        uint32_t layout_version
        uint32_t owners_max
        uint32_t rows_max
        uint32_t remote_max
        uint64_t size
        uint64_t owners_at
        uint64_t rows_at
        uint64_t remote_at
        uint64_t heap_at
        uint64_t boot_id[2]
        uint64_t time_namespace
        uint64_t secret[2]
        uint64_t journal_at
        adm_word state
        adm_word heap_used
        adm_word rows_used
        adm_word config_version
        adm_word swept_ms
        adm_word journal_next
        adm_clock clock
        adm_word freed

    ctypedef struct adm_owner:
        adm_word life
        adm_word pid
        adm_word since_ns

    const uint32_t ADM_REMOTE_OWNER
    const uint32_t ADM_FREE
    const uint32_t ADM_HELD
    const uint32_t ADM_PASSED
    const uint32_t ADM_FAILED

    ctypedef struct adm_remote:
        adm_word made
        adm_word since_ns
        adm_word place
        adm_word probe
        adm_word tokens
        adm_word who[2]
        adm_word seat

    ctypedef struct adm_row:
        adm_word hash
        adm_word params
        adm_word meters
        adm_word waiting_until
        uint64_t name_bytes
        uint64_t spare_at
        char name[128]

    const uint32_t ADM_HAS_RATE_LIMIT
    const uint32_t ADM_HAS_BULKHEAD
    const uint32_t ADM_HAS_BREAKER
    const uint32_t ADM_HAS_SHEDDER
    const uint32_t ADM_IS_REPORTED
    const uint32_t ADM_HAS_RETRY_BUDGET
    const uint32_t ADM_HAS_THROTTLE
    const uint32_t ADM_HAS_HEALTH
    const uint32_t ADM_HAS_CHAOS
    const uint32_t ADM_HAS_FEATURE
    const uint32_t ADM_IN_SERVICE

    enum:
        ADM_GCRA
        ADM_SLIDING_WINDOW
        ADM_FIXED_WINDOW
        ADM_ALGORITHMS

    enum:
        ADM_UNKEYED
        ADM_KEYED_REFUSE
        ADM_KEYED_SHARED

    enum:
        ADM_KEY_SEGMENTS
        ADM_KEY_CELLS_MAX

    ctypedef struct adm_key_table:
        uint64_t at[6]
        uint32_t ends[6]

    ctypedef struct adm_rate:
        int64_t interval_ns
        int64_t depth_ns
        uint64_t burst
        int64_t unit_ns
        uint32_t algorithm

    const uint32_t ADM_OVERRIDES_MAX

    ctypedef struct adm_override:
        uint64_t id
        adm_rate rate

    ctypedef struct adm_limiter_params:
        uint64_t slot
        adm_rate rate
        uint64_t overrides_at
        uint64_t idle_at
        uint32_t overrides_room
        uint32_t idle_room
        uint32_t overrides
        uint32_t keyed
        int64_t max_wait_ns
        adm_key_table keys[3]

    enum:
        ADM_SEGMENTS
        ADM_CELLS_MAX

    ctypedef struct adm_cells:
        uint64_t at[8]
        uint32_t ends[8]

    ctypedef struct adm_bulkhead_params:
        adm_cells cells
        uint32_t limit
        uint32_t high
        int64_t hold_ns
        adm_cells queue_cells
        uint32_t queue
        int64_t max_wait_ns

    ctypedef struct adm_breaker_params:
        uint64_t slot
        uint64_t window_at
        uint64_t buckets_at
        adm_cells probe_cells
        uint32_t chunks
        uint32_t window
        int64_t bucket_ns
        uint32_t consecutive
        uint32_t min_calls
        uint32_t failure_ppm
        uint32_t slow_ppm
        int64_t slow_after_ns
        int64_t open_for_ns
        int64_t open_max_ns
        uint32_t backoff_milli
        uint32_t jitter_milli
        uint32_t probes
        uint32_t probe_passes
        int64_t probe_timeout_ns
        int64_t ramp_ns

    enum:
        ADM_BUCKETS
        ADM_CLASSES

    ctypedef struct adm_budget_params:
        uint64_t slot
        int64_t interval_ns
        int64_t depth_ns
        int64_t deposit_ns

    ctypedef struct adm_throttle_params:
        uint64_t slot
        uint64_t buckets_at
        int64_t bucket_ns
        uint64_t k_milli

    ctypedef struct adm_feature_params:
        uint64_t slot
        uint64_t share[2]
        uint32_t enabled
        uint32_t rollout_ppm
        uint32_t level

    ctypedef struct adm_health_params:
        uint64_t slot

    ctypedef struct adm_check_params:
        uint64_t slot
        int64_t life_ns
        uint32_t fail_after
        uint32_t ok_after

    ctypedef struct adm_chaos_params:
        uint64_t slot
        uint64_t share[2]
        uint64_t draw[2]
        adm_cells delay_cells
        int64_t life_ns
        int64_t delay_ns
        int64_t variance_ns
        uint32_t probability_ppm
        uint32_t keys_ppm
        uint32_t impact
        uint32_t status
        uint32_t max_active
        uint32_t dry_run
    enum:
        ADM_FIXED
        ADM_AIMD
        ADM_VEGAS
        ADM_GRADIENT2
        ADM_ESTIMATORS

    enum:
        ADM_RANKS

    ctypedef struct adm_adaptive_params:
        uint32_t estimator
        uint32_t initial
        uint32_t least
        uint32_t most
        int64_t timeout_ns

    ctypedef struct adm_shedder_params:
        uint64_t slot
        adm_cells cells
        adm_cells born
        adm_adaptive_params adaptive
        uint32_t high
        uint32_t share_milli[5]
        int64_t lag_ns

    ctypedef struct adm_params:
        uint32_t rules
        uint32_t shadow
        adm_limiter_params rate_limit
        adm_bulkhead_params bulkhead
        adm_breaker_params breaker
        adm_budget_params retry_budget
        adm_throttle_params throttle
        adm_feature_params feature
        adm_health_params health
        adm_check_params check
        adm_chaos_params chaos
        adm_shedder_params shedder

    ctypedef struct adm_limiter:
        adm_word levels[3]

    ctypedef struct adm_key:
        adm_word id
        adm_word level

    ctypedef struct adm_breaker:
        adm_word state
        adm_word cursor
        adm_word run
        adm_word asked
        adm_word openings
        adm_word opened
        adm_word remark

    ctypedef struct adm_budget:
        adm_word balance

    ctypedef struct adm_throttle:
        adm_word drawn

    ctypedef struct adm_feature:
        adm_word flag
        adm_word remark

    enum:
        ADM_REMARK_WORDS

    ctypedef struct adm_remark:
        adm_word turn
        adm_word of
        adm_word size
        adm_word text[13]

    ctypedef struct adm_check:
        adm_word status
        adm_word remark

    ctypedef struct adm_chaos:
        adm_word run
        adm_word asked
        adm_word injected
        adm_word spared

    ctypedef struct adm_estimate:
        adm_word limit
        adm_word base_ns
        adm_word samples
        adm_word window_ends_ns
        adm_word window_sum_ns
        adm_word window_calls

    ctypedef struct adm_shedder:
        adm_word in_use
        adm_word recounted_ms
        adm_word revocables
        adm_word revocables_gone
        adm_word pressure
        adm_word service_ns
        adm_word served_ns
        adm_estimate estimate

    const uint32_t ADM_JOURNAL_MAX

    ctypedef struct adm_event:
        adm_word what
        adm_word when
        adm_word value

    enum:
        ADM_CONFIGURED
        ADM_RETIRED
        ADM_CIRCUIT
        ADM_REPAIRED
        ADM_FLAG
        ADM_CHECKED
        ADM_CHAOS_STARTED
        ADM_CHAOS_STOPPED

    enum:
        ADM_ADMITTED
        ADM_SUCCESS
        ADM_FAILURE
        ADM_IGNORED
        ADM_VOID
        ADM_DURATION_NS
        ADM_TALLY
        ADM_REFUSED
        ADM_WOULD_REFUSE
        ADM_COUNTERS

    ctypedef struct adm_meter:
        uint64_t next
        adm_word owner
        adm_word counts[31]
        adm_word histogram

    const uint32_t ADM_HISTOGRAM_FIRST
    const uint32_t ADM_HISTOGRAM_OCTAVES
    const uint32_t ADM_HISTOGRAM_STEPS

    enum:
        ADM_HISTOGRAM_BUCKETS

    ctypedef struct adm_histogram:
        adm_word counts[522]

    enum:
        ADM_OK
        ADM_RATE_LIMITED
        ADM_BULKHEAD_FULL
        ADM_CIRCUIT_OPEN
        ADM_SHED
        ADM_DEGRADED
        ADM_RETRY_BUDGET
        ADM_DEADLINE
        ADM_CHAOS
        ADM_UNHEALTHY
        ADM_UNKNOWN_POLICY
        ADM_INVALID
        ADM_REASONS

    enum:
        ADM_NO_RULE
        ADM_RULE_RATE_LIMIT
        ADM_RULE_BULKHEAD
        ADM_RULE_BREAKER
        ADM_RULE_SHEDDER
        ADM_RULE_RETRY_BUDGET
        ADM_RULE_FEATURE
        ADM_RULE_CHAOS
        ADM_RULE_HEALTH
        ADM_RULE_THROTTLE
        ADM_RULES

    uint64_t adm_layout_hash()
