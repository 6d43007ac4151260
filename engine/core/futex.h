/* Sleep until a word changes, in any process that maps it. Where there is no futex a sleep is short and nothing wakes it. */
#ifndef ADMITTANCE_FUTEX_H
#define ADMITTANCE_FUTEX_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "atomic.h"

#if defined(__linux__)
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The half of a word that a futex can be: its low 32 bits. */
static inline void *adm_futex_of(adm_word *word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (char *)word + 4;
#else
    return word;
#endif
}

/* Sleep while the low half of `word` is that of `seen`, for `pause_ns` at most, until somebody wakes one of `marks`. Whether the word
 * had changed or somebody woke us; a signal ends the sleep too. */
static inline bool adm_futex_wait(adm_word *word, uint64_t seen, int64_t pause_ns, uint32_t marks)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(pause_ns / 1000000000);
    until.tv_nsec += (long)(pause_ns % 1000000000);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec += 1;
        until.tv_nsec -= 1000000000;
    }
    long woken = syscall(SYS_futex, adm_futex_of(word), FUTEX_WAIT_BITSET, (uint32_t)seen, &until, NULL, marks);
    return woken == 0 || errno == EAGAIN;
}

static inline void adm_futex_wake(adm_word *word, uint32_t marks)
{
    syscall(SYS_futex, adm_futex_of(word), FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, marks);
}
#else
static inline bool adm_futex_wait(adm_word *word, uint64_t seen, int64_t pause_ns, uint32_t marks)
{
    struct timespec nap = {0, pause_ns < 1000000 ? (long)pause_ns : 1000000};
    (void)marks;
    if (adm_load(word) == seen) {
        nanosleep(&nap, NULL);
    }
    return adm_load(word) != seen;
}

static inline void adm_futex_wake(adm_word *word, uint32_t marks)
{
    (void)word;
    (void)marks;
}
#endif

#endif
