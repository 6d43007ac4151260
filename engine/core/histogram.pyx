"""How long calls take: counts of durations in buckets whose width grows with the duration.

Log-linear: every octave, from 2^10 ns (about 1 us) to 2^36 ns (about 69 s), is cut into 20 equal steps. One bucket lies
below them all and one above:

    bucket        0 |        1 |        2 |  ...  |     20 |       21 |  ...  |    520 |   521
    up to, ns  1024 |   1075.2 |   1126.4 |  ...  |   2048 |   2150.4 |  ...  |   2^36 |

A bucket holds its upper bound and not its lower one, so that "at most 2^k ns" is an exact count for every k. The bucket of
a duration d is found from one count of leading zeros and one multiplication: with n = d - 1 and its octave k

    (k - 11) x 20 + 1 + floor(20 n / 2^k)               where 2^k <= n < 2^(k + 1), so floor(20 n / 2^k) is from 20 to 39

Whole nanoseconds from l to u have fallen into a bucket; 2 l u / (l + u), said for all of them, is too high by the same
share of l as it is too low of u: (u - l) / (u + l), and no other value has a smaller error. In step s of an octave that is
below 1 / (41 + 2 s), so **the error is at most 1 / 41, 2.44 %** (16 steps would have 1 / 33, a little more than 3 %).
Below 1,024 ns what is said is 512 ns, which is off by as much at most; above 2^36 ns only that it was longer is known, and
2^36 ns is said. A quantile has the error of the bucket in which it lies, whatever the number of calls: buckets of several
processes are added, and nothing is sampled or forgotten.

A histogram is 522 words, 4,224 bytes, in the heap of the arena behind a meter (meter.pyx), written by the meter's owner
alone. To record is to add 1 to a word; a kill loses at most the call that was under way.

Source: the bucketing is that of HdrHistogram (G. Tene), with 20 steps instead of a power of two.
"""

from libc.stdint cimport uint32_t, uint64_t

from engine.core.atomic cimport adm_load
from engine.core.layout cimport (
    ADM_HISTOGRAM_BUCKETS, ADM_HISTOGRAM_FIRST, ADM_HISTOGRAM_OCTAVES, ADM_HISTOGRAM_STEPS, adm_histogram,
)


cdef void histogram_sum(const adm_histogram *histogram, uint64_t *counts) noexcept nogil:
    """Add what every bucket holds to `counts`."""
    cdef int bucket
    for bucket in range(ADM_HISTOGRAM_BUCKETS):
        counts[bucket] += adm_load(&histogram.counts[bucket])


cdef uint64_t _upper_ns(uint32_t bucket) noexcept nogil:
    """The longest duration of a bucket that is not the last."""
    cdef uint32_t octave = ADM_HISTOGRAM_FIRST + (bucket - 1) // ADM_HISTOGRAM_STEPS
    cdef uint64_t step = ADM_HISTOGRAM_STEPS + 1 + (bucket - 1) % ADM_HISTOGRAM_STEPS
    if bucket == 0:
        return <uint64_t>1 << ADM_HISTOGRAM_FIRST
    return ((step << octave) + ADM_HISTOGRAM_STEPS - 1) // ADM_HISTOGRAM_STEPS


def upper_bounds_ns():
    """The longest duration of each bucket but the last, which has none; in whole nanoseconds."""
    return tuple(_upper_ns(bucket) for bucket in range(ADM_HISTOGRAM_BUCKETS - 1))


def representatives_ns():
    """What is said for the durations of each bucket, in nanoseconds."""
    uppers = upper_bounds_ns()
    within = [2 * (below + 1) * upper / (below + 1 + upper) for below, upper in zip(uppers, uppers[1:])]
    return (uppers[0] / 2, *within, float(uppers[ADM_HISTOGRAM_BUCKETS - 2]))
