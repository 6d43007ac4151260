/* The time-stamp counter, where there is one worth asking. */
#ifndef ADMITTANCE_CLOCK_H
#define ADMITTANCE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t adm_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t adm_realtime_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>

static inline uint64_t adm_ticks(void)
{
    return __rdtsc();
}

/* Whether the counter runs at one rate in every power state (CPUID 8000_0007h, EDX bit 8). */
static inline int adm_ticks_are_invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d >> 8 & 1);
}

/* ticks x multiplier / 2^32, exact: the product has 128 bits. */
static inline int64_t adm_scale(uint64_t ticks, uint64_t multiplier)
{
    return (int64_t)(((unsigned __int128)ticks * multiplier) >> 32);
}

static inline uint64_t adm_ratio(uint64_t ns, uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}
#else
static inline uint64_t adm_ticks(void) { return 0; }
static inline int adm_ticks_are_invariant(void) { return 0; }
static inline int64_t adm_scale(uint64_t ticks, uint64_t multiplier) { (void)multiplier; return (int64_t)ticks; }
static inline uint64_t adm_ratio(uint64_t ns, uint64_t ticks) { (void)ns; (void)ticks; return 0; }
#endif

#endif
