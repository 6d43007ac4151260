/* What lies in an arena, word by word.
 *
 *   header | owner table | directory | remote permits and what they stand for | journal |
 *   heap (parameters, slots, meters, histograms)
 *
 * Every field says its unit, who writes it and what zero means. Offsets count bytes from the start of the arena.
 * "creator" writes before the arena is published and never again; "binder" holds the init lock.
 */
#ifndef ADMITTANCE_LAYOUT_H
#define ADMITTANCE_LAYOUT_H

#include <stddef.h>

#include "atomic.h"

#define ADM_LINE 64                         /* bytes of a cache line: two writers never share one */
#define ADM_MAGIC 0x4e415454494d4441ULL     /* "ADMITTAN" read as bytes */
#define ADM_VERSION 3U                      /* counts incompatible layouts */
#define ADM_READY 0x5245414459ULL           /* header.state of a finished arena */
#define ADM_NAME_MAX 128                    /* bytes of a policy name */
#define ADM_OWNERS_MAX 1023U                /* rows of the owner table */
#define ADM_ROWS_MAX 2048U                  /* rows of the directory, a power of two */
#define ADM_REMOTE_MAX 16384U               /* cells for permits of remote callers */
#define ADM_JOURNAL_MAX 1024U               /* events remembered, a power of two */

/* ---- header ---------------------------------------------------------------------------------- */

/* Time is CLOCK_MONOTONIC as it was when the arena was made, carried on by the time-stamp counter. */
typedef struct adm_clock {
    _Alignas(ADM_LINE)
    adm_word ticking;           /* creator, then anybody, one way; zero: ask CLOCK_MONOTONIC instead */
    uint64_t multiplier;        /* creator; ns a tick x 2^32 */
    uint64_t base_ticks;        /* creator; the counter at base_ns */
    int64_t base_ns;            /* creator; CLOCK_MONOTONIC at base_ticks */
} adm_clock;

typedef struct adm_header {
    uint64_t magic;             /* creator; ADM_MAGIC */
    uint64_t layout_hash;       /* creator; adm_layout_hash() */
    uint32_t layout_version;    /* creator; ADM_VERSION */
    uint32_t owners_max;        /* creator; rows of the owner table, row 0 unused */
    uint32_t rows_max;          /* creator; rows of the directory, a power of two */
    uint32_t remote_max;        /* creator; cells for permits of remote callers */
    uint64_t size;              /* creator; bytes of the whole arena */
    uint64_t owners_at;         /* creator; offset of adm_owner[owners_max] */
    uint64_t rows_at;           /* creator; offset of adm_row[rows_max] */
    uint64_t remote_at;         /* creator; offset of permit words[remote_max], then adm_remote[remote_max] */
    uint64_t heap_at;           /* creator; offset of the heap */
    uint64_t boot_id[2];        /* creator; the boot whose clock the times are of; zero: unknown */
    uint64_t time_namespace;    /* creator; inode of the time namespace; zero: unknown */
    uint64_t secret[2];         /* creator; SipHash key of names and permit tags */
    uint64_t journal_at;        /* creator; offset of adm_event[ADM_JOURNAL_MAX] */
    _Alignas(ADM_LINE)
    adm_word state;             /* creator, last of all; ADM_READY */
    adm_word heap_used;         /* binder; bytes of the heap given out */
    adm_word rows_used;         /* binder; directory rows that carry a name */
    adm_word config_version;    /* binder; counts published parameter blocks */
    adm_word swept_ms;          /* anybody by CAS; ms of the last look for dead owners */
    adm_word journal_next;      /* anybody by CAS; number of the next event */
    adm_clock clock;            /* creator; the time of this arena */
    _Alignas(ADM_LINE)
    adm_word freed;             /* who gives back what is waited for, by CAS; counts; the low half is the futex of all waiters */
} adm_header;

/* ---- owner table ----------------------------------------------------------------------------- */

/* A row is alive while its process holds the byte lock `row` of the lock file. */
typedef struct adm_owner {
    _Alignas(ADM_LINE)
    adm_word life;              /* its process; counts attachments, so zero: never used */
    adm_word pid;               /* its process; for people; zero: detached or repaired */
    adm_word since_ns;          /* its process; monotonic time of the attachment */
} adm_owner;

#define ADM_REMOTE_OWNER 1023U              /* stamps permits of remote callers: these end by time alone */

/* A permit is one word: status 2 | owner 10 | generation 20 | expiry 32 (ticks of 2^24 ns, zero: none). */
#define ADM_FREE 0U
#define ADM_HELD 1U
#define ADM_PASSED 2U                       /* a probe that ended well */
#define ADM_FAILED 3U                       /* a probe that failed, expired or lost its owner */

/* What the permit of a remote caller stands for; its own permit word lies at the same index among the words. Who was granted that
 * permit writes all of it, `made` last. Zero: never used. */
typedef struct adm_remote {
    _Alignas(ADM_LINE)
    adm_word made;              /* generation of the permit word 20 | directory row 12 | breaker generation 24 | passed a breaker 8 */
    adm_word since_ns;          /* arena time of the admission; tells the permits of a place apart */
    adm_word place;             /* of the bulkhead: cell, in words from the start of the arena, 28 | generation 20; zero: none */
    adm_word probe;             /* of the breaker: cell + 1; zero: none */
    adm_word tokens;            /* taken from the rate limit */
    adm_word who[2];            /* whose */
    adm_word seat;              /* of the load shedder: cell 28 | generation 20 | calls in flight 16; zero: none */
} adm_remote;

/* ---- directory ------------------------------------------------------------------------------- */

typedef struct adm_row {
    _Alignas(ADM_LINE)
    adm_word hash;              /* binder, after the name; keyed hash of the name; zero: empty row */
    adm_word params;            /* binder; version 24 | offset 40 of an adm_params; zero: none yet */
    adm_word meters;            /* anybody by CAS; offset of the first adm_meter; zero: none yet */
    adm_word waiting_until;     /* waiters by CAS; arena time, ms, before which they look again or ring; zero: nobody waits */
    uint64_t name_bytes;        /* binder, before hash; length of the name */
    uint64_t spare_at;          /* binder; offset of the adm_params before the published one; zero: none */
    char name[ADM_NAME_MAX];    /* binder, before hash; not terminated */
} adm_row;

/* ---- parameters: not written to while they are published ---------------------------------------- */

/* Kinds of rules, by the numbers of the wire. */
enum adm_rule {
    ADM_NO_RULE,
    ADM_RULE_RATE_LIMIT,
    ADM_RULE_BULKHEAD,
    ADM_RULE_BREAKER,
    ADM_RULE_SHEDDER,
    ADM_RULE_RETRY_BUDGET,
    ADM_RULE_FEATURE,
    ADM_RULE_CHAOS,
    ADM_RULE_HEALTH,
    ADM_RULE_THROTTLE,
    ADM_RULES
};

/* Sets of them. */
#define ADM_HAS_RATE_LIMIT (1U << (ADM_RULE_RATE_LIMIT - 1))
#define ADM_HAS_BULKHEAD (1U << (ADM_RULE_BULKHEAD - 1))
#define ADM_HAS_BREAKER (1U << (ADM_RULE_BREAKER - 1))
#define ADM_HAS_RETRY_BUDGET (1U << (ADM_RULE_RETRY_BUDGET - 1))
#define ADM_HAS_THROTTLE (1U << (ADM_RULE_THROTTLE - 1))
#define ADM_HAS_HEALTH (1U << (ADM_RULE_HEALTH - 1))
#define ADM_HAS_CHAOS (1U << (ADM_RULE_CHAOS - 1))
#define ADM_HAS_FEATURE (1U << (ADM_RULE_FEATURE - 1))
#define ADM_HAS_SHEDDER (1U << (ADM_RULE_SHEDDER - 1))
/* With one of these an admission is to be reported. */
#define ADM_IS_REPORTED (ADM_HAS_BULKHEAD | ADM_HAS_BREAKER | ADM_HAS_SHEDDER | ADM_HAS_THROTTLE)
#define ADM_IN_SERVICE (1U << 31)           /* a policy that may be asked, whatever rules it has */

enum adm_algorithm { ADM_GCRA, ADM_SLIDING_WINDOW, ADM_FIXED_WINDOW, ADM_ALGORITHMS };
enum adm_keyed { ADM_UNKEYED, ADM_KEYED_REFUSE, ADM_KEYED_SHARED };    /* what is done with a key that finds no room */

/* Cells of keys that grow without moving, as adm_cells do: the window of a key lies in every segment. */
#define ADM_KEY_SEGMENTS 6
#define ADM_KEY_CELLS_MAX 2097152           /* 32 MiB */
typedef struct adm_key_table {
    uint64_t at[ADM_KEY_SEGMENTS];          /* offsets of adm_key[] */
    uint32_t ends[ADM_KEY_SEGMENTS];        /* cells in this segment and those before it; zero: no such segment */
} adm_key_table;

/* How fast tokens come, and how many there may be. */
typedef struct adm_rate {
    int64_t interval_ns;        /* time one token takes to come back */
    int64_t depth_ns;           /* burst x interval: how far ahead of the clock the level may run */
    uint64_t burst;             /* tokens of a full bucket, or of a window */
    int64_t unit_ns;            /* length of a window; 28 days mean a month */
    uint32_t algorithm;         /* adm_algorithm */
    uint32_t spare;
} adm_rate;

/* The rate of one key, in a table that is sorted by id and only read, or written, under the init lock. */
#define ADM_OVERRIDES_MAX 1024U
typedef struct adm_override {
    uint64_t id;                /* keyed hash of the key, as in adm_key */
    adm_rate rate;
} adm_override;

typedef struct adm_limiter_params {
    uint64_t slot;              /* offset of an adm_limiter */
    adm_rate rate;
    uint64_t overrides_at;      /* offset of adm_override[overrides_room]; zero: never had any */
    uint64_t idle_at;           /* the same of the table that the next version may write to */
    uint32_t overrides_room;
    uint32_t idle_room;
    uint32_t overrides;         /* how many there are */
    uint32_t keyed;             /* adm_keyed */
    int64_t max_wait_ns;        /* how long a refusal is waited for where the caller does not say; zero: not at all */
    adm_key_table keys[ADM_ALGORITHMS];     /* one for each algorithm that was ever in force: their words differ */
} adm_limiter_params;

/* Permit words that grow without moving: segment k holds the cells from ends[k - 1] up to ends[k]. */
#define ADM_SEGMENTS 8
#define ADM_CELLS_MAX 65536
typedef struct adm_cells {
    uint64_t at[ADM_SEGMENTS];      /* offsets */
    uint32_t ends[ADM_SEGMENTS];    /* cells in this segment and those before it; zero: no such segment */
} adm_cells;

typedef struct adm_bulkhead_params {
    adm_cells cells;
    uint32_t limit;             /* permits held at once */
    uint32_t high;              /* the highest limit there ever was: cells below it may still be held */
    int64_t hold_ns;            /* life of a permit; zero: as long as its owner */
    adm_cells queue_cells;      /* places of those who wait, in the words of permits */
    uint32_t queue;             /* places there are; zero: a refusal is not waited for */
    uint32_t spare;
    int64_t max_wait_ns;        /* how long they wait where the caller does not say; zero: not at all */
} adm_bulkhead_params;

typedef struct adm_breaker_params {
    uint64_t slot;              /* offset of an adm_breaker */
    uint64_t window_at;         /* offset of the words[chunks] of a window by count; zero: never had one */
    uint64_t buckets_at;        /* offset of the words[ADM_BUCKETS][ADM_CLASSES] of a window by time; zero: never had one */
    adm_cells probe_cells;
    uint32_t chunks;            /* a power of two with room for `window` */
    uint32_t window;            /* calls; zero: the window is not by count */
    int64_t bucket_ns;          /* a tenth of the window; zero: the window is not by time */
    uint32_t consecutive;       /* failures in a row that trip; zero: a window is judged */
    uint32_t min_calls;         /* calls before a rate counts */
    uint32_t failure_ppm;       /* failures per million calls that trip */
    uint32_t slow_ppm;          /* slow calls per million calls that trip */
    int64_t slow_after_ns;      /* a longer call is slow; zero: none is */
    int64_t open_for_ns;        /* rest before the first probe */
    int64_t open_max_ns;        /* the longest rest, jitter apart */
    uint32_t backoff_milli;     /* thousandths of the rest before that the next one lasts */
    uint32_t jitter_milli;      /* thousandths by which a rest is longer or shorter */
    uint32_t probes;            /* permits of one half-open generation */
    uint32_t probe_passes;      /* successes among `probes` that close */
    int64_t probe_timeout_ns;   /* life of a probe */
    int64_t ramp_ns;            /* from half-open to all callers; zero: at once */
} adm_breaker_params;

#define ADM_BUCKETS 10                      /* of a window by time */
#define ADM_CLASSES 4                       /* of calls: failed or not, slow or not */

typedef struct adm_budget_params {
    uint64_t slot;              /* offset of an adm_budget */
    int64_t interval_ns;        /* time in which min_rate brings one retry */
    int64_t depth_ns;           /* burst x interval: how far ahead of the clock the balance may run */
    int64_t deposit_ns;         /* ratio x interval: what a first attempt brings */
} adm_budget_params;

typedef struct adm_throttle_params {
    uint64_t slot;              /* offset of an adm_throttle */
    uint64_t buckets_at;        /* offset of the words[ADM_BUCKETS][ADM_CLASSES] */
    int64_t bucket_ns;          /* a tenth of the window */
    uint64_t k_milli;           /* thousandths of a request for every accept */
} adm_throttle_params;

typedef struct adm_feature_params {
    uint64_t slot;              /* offset of an adm_feature */
    uint64_t share[2];          /* made of the policy's name: which keys a rollout contains (share.pxd) */
    uint32_t enabled;           /* as configured: on (for the rollout), or off for everybody */
    uint32_t rollout_ppm;       /* millionths of the keys that it is on for */
    uint32_t level;             /* level of service to give where it is off */
    uint32_t spare;
} adm_feature_params;

typedef struct adm_health_params {
    uint64_t slot;              /* offset of the adm_check that the policy hangs on; zero: on none */
} adm_health_params;

/* Of a row that is a check, and of no policy. */
typedef struct adm_check_params {
    uint64_t slot;              /* offset of its adm_check; zero: this row is no check */
    int64_t life_ns;            /* how long a result counts */
    uint32_t fail_after;        /* bad results in a row that make it unhealthy */
    uint32_t ok_after;          /* good ones that end that */
} adm_check_params;

typedef struct adm_chaos_params {
    uint64_t slot;              /* offset of an adm_chaos */
    uint64_t share[2];          /* made of the policy's name: which keys are concerned (share.pxd) */
    uint64_t draw[2];           /* made of that and the seed: which call is harmed, and by how much */
    adm_cells delay_cells;      /* one for each delay that is under way, where there is a maximum */
    int64_t life_ns;            /* of a run that begins when the rule is put in force */
    int64_t delay_ns;
    int64_t variance_ns;        /* at most the delay; more or less than it */
    uint32_t probability_ppm;
    uint32_t keys_ppm;          /* millionths of the keys that are concerned */
    uint32_t impact;            /* chaos.pyx */
    uint32_t status;            /* gRPC status of an error */
    uint32_t max_active;        /* delays at once; zero: as many as come */
    uint32_t dry_run;           /* not zero: harm nobody, count whom it would have been */
} adm_chaos_params;
enum adm_estimator { ADM_FIXED, ADM_AIMD, ADM_VEGAS, ADM_GRADIENT2, ADM_ESTIMATORS };

typedef struct adm_adaptive_params {
    uint32_t estimator;         /* adm_estimator */
    uint32_t initial;           /* the limit before anything was learned; of a fixed one the limit */
    uint32_t least;             /* the limit is never less */
    uint32_t most;              /* and never more */
    int64_t timeout_ns;         /* aimd: a longer call counts as dropped */
} adm_adaptive_params;

#define ADM_RANKS 5                         /* classes of work, the most important first */

typedef struct adm_shedder_params {
    uint64_t slot;              /* offset of an adm_shedder */
    adm_cells cells;
    adm_cells born;             /* segments of the same lengths: when the revocable permit of a cell was granted, ns */
    adm_adaptive_params adaptive;
    uint32_t high;              /* the highest limit there ever was: cells below it may still be held */
    uint32_t share_milli[ADM_RANKS];        /* thousandths of the limit above which a class is shed */
    int64_t lag_ns;             /* a longer lag takes from the limit */
} adm_shedder_params;

/* A rule that is not in force keeps its slots, and with them its state, for the day it comes back. */
typedef struct adm_params {
    uint32_t rules;             /* ADM_IN_SERVICE | ADM_HAS_...; zero: out of service, or a counter */
    uint32_t shadow;            /* ADM_HAS_... of those rules that judge and count and never refuse */
    adm_limiter_params rate_limit;
    adm_bulkhead_params bulkhead;
    adm_breaker_params breaker;
    adm_budget_params retry_budget;
    adm_throttle_params throttle;
    adm_feature_params feature;
    adm_health_params health;
    adm_check_params check;
    adm_chaos_params chaos;
    adm_shedder_params shedder;
} adm_params;

/* ---- slots ----------------------------------------------------------------------------------- */

typedef struct adm_limiter {
    _Alignas(ADM_LINE)
    adm_word levels[ADM_ALGORITHMS];        /* callers by CAS; the bucket of each algorithm (bucket.pxd); zero: full */
} adm_limiter;

/* The bucket of one key. Both words change hands by one compare-and-swap of 128 bits; takers change `level` alone. */
typedef struct adm_key {
    _Alignas(16)
    adm_word id;                /* who claims it; 64 bits of keyed hash; zero: never used */
    adm_word level;             /* callers by CAS; as in adm_limiter */
} adm_key;

typedef struct adm_breaker {
    _Alignas(ADM_LINE)
    adm_word state;             /* callers by CAS; state 3 | generation 24 | time 37 ms; zero: closed */
    adm_word cursor;            /* callers by CAS; generation 24 | chunk number 40 of the window */
    adm_word run;               /* callers by CAS; generation 24 | failures in a row 40 */
    adm_word asked;             /* callers by CAS; generation 24 | callers 40 since it began to recover */
    adm_word openings;          /* who opens it, before; generation 24 | openings since a recovery, the first apart 8 */
    adm_word opened;            /* who opened it; times it opened */
    adm_word remark;            /* who forces it, under the init lock; offset of an adm_remark; zero: none yet */
} adm_breaker;

typedef struct adm_budget {
    _Alignas(ADM_LINE)
    adm_word balance;           /* binder, before its params; then callers by CAS; ns, when it will be full; zero: it is */
} adm_budget;

typedef struct adm_throttle {
    _Alignas(ADM_LINE)
    adm_word drawn;             /* callers by CAS; calls that drew, whether they were refused or not */
} adm_throttle;

typedef struct adm_feature {
    _Alignas(ADM_LINE)
    adm_word flag;              /* operators by CAS; state 2 | flips 22 | end 40 ms; zero: as configured */
    adm_word remark;            /* who flips it, under the init lock; offset of an adm_remark; zero: none yet */
} adm_feature;

/* A text for people beside a word that has numbered states. All of it is written under the init lock. */
#define ADM_REMARK_WORDS 13
typedef struct adm_remark {
    _Alignas(ADM_LINE)
    adm_word turn;              /* counts, and is odd while the rest is being written; zero: never was */
    adm_word of;                /* number of the state that it explains */
    adm_word size;              /* bytes of the text */
    adm_word text[ADM_REMARK_WORDS];            /* UTF-8 */
} adm_remark;

typedef struct adm_check {
    _Alignas(ADM_LINE)
    adm_word status;            /* who reports, by CAS; status 2 | bad 1 | run 7 | changes 14 | stale 40 ms; zero: unknown */
    adm_word remark;            /* who reports, under the init lock; offset of an adm_remark; zero: none yet */
} adm_check;

typedef struct adm_chaos {
    _Alignas(ADM_LINE)
    adm_word run;               /* anybody by CAS; state 2 | run 22 | end 40 ms; zero: never begun */
    adm_word asked;             /* callers by CAS; run 24 | calls of it that were numbered 40 */
    adm_word injected;          /* callers by CAS; calls harmed, of all runs */
    adm_word spared;            /* callers by CAS; calls that a dry run would have harmed */
} adm_chaos;
/* What an estimator has learned (adaptive.pyx). Doubles stand in the words by their bits. */
typedef struct adm_estimate {
    _Alignas(ADM_LINE)
    adm_word limit;             /* who reports, by CAS; calls, a double; zero: nothing learned yet */
    adm_word base_ns;           /* who reports, by CAS; shortest duration or long average, a double; zero: none yet */
    adm_word samples;           /* who reports, by CAS; vegas: renewals 24 | calls 40; gradient2: averages in base_ns */
    adm_word window_ends_ns;    /* gradient2: who ends the window, by CAS; arena time; zero: none was begun */
    adm_word window_sum_ns;     /* gradient2: who reports, by CAS; durations of the window */
    adm_word window_calls;      /* gradient2: who reports, by CAS; most in flight 24 | calls 40 */
} adm_estimate;

typedef struct adm_shedder {
    _Alignas(ADM_LINE)
    adm_word in_use;            /* callers by CAS; permits counted (shedder.pyx says how well) */
    adm_word recounted_ms;      /* who recounts, by CAS before; arena time; zero: never */
    adm_word revocables;        /* who was granted a revocable permit, by CAS after; how many there ever were */
    adm_word revocables_gone;   /* who looked for one in vain, by CAS; `revocables` before that look */
    adm_word pressure;          /* who notes a lag, by CAS; thousandths of the limit 16 | end, ms 48; zero: none */
    adm_word spare;
    adm_word service_ns;        /* who reports, by CAS; moving average of what calls took, a double; zero: unknown */
    adm_word served_ns;         /* who reports, by CAS; arena time at which service_ns was last told something */
    adm_estimate estimate;
} adm_shedder;

/* ---- journal: what changed, for people ---------------------------------------------------------- */

/* Every word carries the low 16 bits of the event's number + 1, so a reader knows whether they belong together. */
typedef struct adm_event {
    adm_word what;              /* tag 16 | adm_change 8 | directory row 16 | generation 24 */
    adm_word when;              /* tag 16 | arena time, ms 48 */
    adm_word value;             /* tag 16 | by the kind of change 48 */
    adm_word spare;
} adm_event;

enum adm_change {
    ADM_CHANGE_NONE,
    ADM_CONFIGURED,             /* value: version of the parameters */
    ADM_RETIRED,
    ADM_CIRCUIT,                /* + the state that was entered (breaker.pyx); there are six */
    ADM_REPAIRED = ADM_CIRCUIT + 6, /* value: permits given back; row: the owner's */
    ADM_FLAG,                   /* + the state that an operator gave it (feature.pyx), of three; value: its life, ms */
    ADM_LAST_FLAG = ADM_FLAG + 2,
    ADM_CHECKED,                /* + the status that a check entered (health.pyx), of four */
    ADM_LAST_CHECKED = ADM_CHECKED + 3,
    ADM_CHAOS_STARTED,          /* value: its time to live, ms; generation: its run, as of the next */
    ADM_CHAOS_STOPPED,
    ADM_CHANGES
};

/* ---- meter: one per policy and process, summed by readers ------------------------------------- */

enum adm_counter {
    ADM_ADMITTED,
    ADM_SUCCESS,
    ADM_FAILURE,
    ADM_IGNORED,
    ADM_VOID,
    ADM_DURATION_NS,
    ADM_TALLY,                  /* what a Counter counts */
    ADM_REFUSED,                /* + reason */
    ADM_WOULD_REFUSE = ADM_REFUSED + 12, /* + reason; what a shadow rule would have done */
    ADM_COUNTERS = ADM_WOULD_REFUSE + 12
};

typedef struct adm_meter {
    _Alignas(ADM_LINE)
    uint64_t next;              /* maker, before it is linked; offset of the next meter; zero: last */
    adm_word owner;             /* its process by CAS; owner row, zero: nobody writes here now */
    adm_word counts[ADM_COUNTERS]; /* its owner; never goes back */
    adm_word histogram;         /* its owner; offset of an adm_histogram; zero: nothing to time, or no room */
} adm_meter;

/* How long calls took: equal steps within each octave, and one bucket below and one above them all. */
#define ADM_HISTOGRAM_FIRST 10U             /* the first octave begins above 2^10 ns, about 1 us */
#define ADM_HISTOGRAM_OCTAVES 26U           /* the last one ends at 2^36 ns, about 69 s */
#define ADM_HISTOGRAM_STEPS 20U             /* buckets an octave */
#define ADM_HISTOGRAM_BUCKETS 522           /* OCTAVES x STEPS, one below and one above */

typedef struct adm_histogram {
    _Alignas(ADM_LINE)
    adm_word counts[ADM_HISTOGRAM_BUCKETS]; /* the owner of its meter; calls; never goes back */
} adm_histogram;

/* ---- reasons: one list, the numbers of the wire -------------------------------------- */

enum adm_reason {
    ADM_OK,
    ADM_RATE_LIMITED,
    ADM_BULKHEAD_FULL,
    ADM_CIRCUIT_OPEN,
    ADM_SHED,
    ADM_DEGRADED,
    ADM_RETRY_BUDGET,
    ADM_DEADLINE,
    ADM_CHAOS,
    ADM_UNHEALTHY,
    ADM_UNKNOWN_POLICY,
    ADM_INVALID,
    ADM_REASONS
};

_Static_assert(offsetof(adm_header, state) == 128, "the header's moving words start a line");
_Static_assert(sizeof(adm_header) == 320, "header");
_Static_assert(offsetof(adm_header, freed) == 256, "what moves while somebody waits has a line of its own");
_Static_assert(offsetof(adm_row, waiting_until) < ADM_LINE, "beside `params`, which every decision looks at");
_Static_assert(offsetof(adm_header, clock) == 192, "the clock is read often and written once");
_Static_assert(sizeof(adm_owner) == ADM_LINE, "an owner has a line of its own");
_Static_assert(sizeof(adm_remote) == ADM_LINE, "a remote permit has a line of its own");
_Static_assert(sizeof(adm_row) == 3 * ADM_LINE, "directory row");
_Static_assert(sizeof(adm_event) == 32, "two events a line");
_Static_assert(sizeof(adm_limiter) == ADM_LINE, "a limiter is 64 bytes");
_Static_assert(sizeof(adm_key) == 16, "a key is 16 bytes");
_Static_assert(sizeof(adm_breaker) == ADM_LINE, "the head of a breaker is 64 bytes");
_Static_assert(sizeof(adm_budget) == ADM_LINE, "a retry budget is 64 bytes");
_Static_assert(sizeof(adm_throttle) == ADM_LINE, "the head of a throttle is 64 bytes");
_Static_assert(sizeof(adm_feature) == ADM_LINE, "a feature is 64 bytes");
_Static_assert(sizeof(adm_check) == ADM_LINE, "a check is 64 bytes");
_Static_assert(sizeof(adm_chaos) == ADM_LINE, "an experiment is 64 bytes");
_Static_assert(sizeof(adm_remark) == 2 * ADM_LINE, "remark");
_Static_assert(sizeof(adm_shedder) == 2 * ADM_LINE, "what admissions change and what reports change have a line each");
_Static_assert(sizeof(adm_meter) == 5 * ADM_LINE, "meter");
_Static_assert(offsetof(adm_meter, counts[ADM_DURATION_NS]) + sizeof(adm_word) == ADM_LINE, "what a call counts is one line");
_Static_assert(ADM_HISTOGRAM_BUCKETS == ADM_HISTOGRAM_OCTAVES * ADM_HISTOGRAM_STEPS + 2, "buckets of a histogram");
_Static_assert(sizeof(adm_histogram) == 66 * ADM_LINE, "a histogram is about 4 KiB");
_Static_assert(ADM_REASONS == 12, "ADM_COUNTERS leaves room for every reason");

/* Two builds may share an arena only when this agrees: FNV-1a over the shape of every struct. */
static inline uint64_t adm_layout_hash(void)
{
    const uint64_t shape[] = {
        offsetof(adm_header, freed), offsetof(adm_row, waiting_until), offsetof(adm_limiter_params, max_wait_ns),
        offsetof(adm_bulkhead_params, queue_cells), offsetof(adm_bulkhead_params, max_wait_ns),
        ADM_VERSION, ADM_LINE, ADM_NAME_MAX, ADM_REMOTE_OWNER, ADM_SEGMENTS, ADM_COUNTERS, ADM_REASONS, ADM_RULES,
        ADM_JOURNAL_MAX, ADM_CHANGES,
        sizeof(adm_event), sizeof(adm_header), offsetof(adm_header, heap_at), offsetof(adm_header, secret),
        offsetof(adm_header, state), offsetof(adm_header, clock), sizeof(adm_owner), sizeof(adm_row), sizeof(adm_remote), offsetof(adm_row, name),
        sizeof(adm_params), offsetof(adm_params, rate_limit), offsetof(adm_params, bulkhead),
        offsetof(adm_params, breaker), sizeof(adm_limiter), sizeof(adm_breaker), offsetof(adm_breaker, opened),
        offsetof(adm_breaker_params, probes), ADM_BUCKETS, ADM_CLASSES, sizeof(adm_meter),
        ADM_ALGORITHMS, ADM_KEY_SEGMENTS, ADM_KEY_CELLS_MAX, sizeof(adm_key), offsetof(adm_limiter_params, keys),
        sizeof(adm_override), offsetof(adm_meter, counts), offsetof(adm_meter, histogram), sizeof(adm_histogram),
        ADM_HISTOGRAM_FIRST, ADM_HISTOGRAM_OCTAVES, ADM_HISTOGRAM_STEPS,
        offsetof(adm_params, retry_budget), sizeof(adm_budget_params), sizeof(adm_budget),
        offsetof(adm_params, throttle), sizeof(adm_throttle_params), sizeof(adm_throttle),
        offsetof(adm_params, feature), sizeof(adm_feature_params), sizeof(adm_feature), sizeof(adm_remark),
        offsetof(adm_breaker, remark),
        offsetof(adm_params, health), sizeof(adm_check_params), sizeof(adm_check),
        offsetof(adm_params, chaos), sizeof(adm_chaos_params), sizeof(adm_chaos),
        ADM_ESTIMATORS, ADM_RANKS, sizeof(adm_shedder), offsetof(adm_shedder, estimate), sizeof(adm_shedder_params),
        offsetof(adm_shedder_params, adaptive), offsetof(adm_params, shedder),
    };
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        hash = (hash ^ shape[i]) * 0x100000001b3ULL;
    }
    return hash;
}

#endif
