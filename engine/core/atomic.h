/* Memory order lives here and nowhere else.
 *
 * Every word that two processes share is an adm_word: one atomic of 64 bits.
 * The struct keeps ordinary loads and stores from compiling by accident.
 */
#ifndef ADMITTANCE_ATOMIC_H
#define ADMITTANCE_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct adm_word {
    _Atomic uint64_t bits;
} adm_word;

_Static_assert(sizeof(adm_word) == 8, "a shared word is 64 bits");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free to work across processes");

/* Builds for tests/crash kill the process at any of these points. Before and after every step, because what
 * lies between two steps may write as well: a parameter block, a name. */
#ifdef ADM_CRASH_POINTS
extern void adm_crash_point(bool writes);
#else
static inline void adm_crash_point(bool writes) { (void)writes; }
#endif

/* Acquire: what was written before the word was published is visible to this reader. */
static inline uint64_t adm_load(const adm_word *word)
{
    adm_crash_point(false);
    uint64_t bits = atomic_load_explicit(&word->bits, memory_order_acquire);
    adm_crash_point(false);
    return bits;
}

/* Sequentially consistent, for whoever has just given something back by adm_cas and looks whether anybody waits for it. A
 * waiter writes that it waits, then adm_fence, then looks at what there is: one of the two sees the other. */
static inline uint64_t adm_look(const adm_word *word)
{
    adm_crash_point(false);
    uint64_t bits = atomic_load_explicit(&word->bits, memory_order_seq_cst);
    adm_crash_point(false);
    return bits;
}

/* Sequentially consistent: what was written before is visible to every adm_look that this thread's later loads do not see. */
static inline void adm_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* Relaxed: the value alone matters, nothing is read through it. */
static inline uint64_t adm_peek(const adm_word *word)
{
    return atomic_load_explicit(&word->bits, memory_order_relaxed);
}

/* Relaxed: a hint in this process's own memory; a thread that reads an old one only looks a little longer. */
static inline void adm_note(adm_word *word, uint64_t bits)
{
    atomic_store_explicit(&word->bits, bits, memory_order_relaxed);
}

/* Release: everything written before is visible to whoever loads this word. */
static inline void adm_publish(adm_word *word, uint64_t bits)
{
    adm_crash_point(true);
    atomic_store_explicit(&word->bits, bits, memory_order_release);
    adm_crash_point(true);
}

/* The one way to change shared state. Release: the winner's earlier writes are visible to the next
 * reader. Acquire: the winner sees those of the loser before it, as the loser sees the winner's. Sequentially
 * consistent, which costs no instruction more: an adm_look after it is not made before it. */
static inline bool adm_cas(adm_word *word, uint64_t expected, uint64_t desired)
{
    adm_crash_point(true);
    bool won = atomic_compare_exchange_strong_explicit(
        &word->bits, &expected, desired, memory_order_seq_cst, memory_order_acquire);
    adm_crash_point(true);
    return won;
}

/* The same for two words that lie side by side at a multiple of 16 bytes. It is a full barrier: GCC and
 * clang promise that of __sync, and emit it in line where the processor has such an instruction. */
#if defined(__x86_64__)
__attribute__((target("cx16")))
#endif
static inline bool adm_cas_pair(adm_word *pair, const uint64_t expected[2], const uint64_t desired[2])
{
    unsigned __int128 before, after;
    __builtin_memcpy(&before, expected, sizeof before);
    __builtin_memcpy(&after, desired, sizeof after);
    adm_crash_point(true);
    bool won = __sync_bool_compare_and_swap((unsigned __int128 *)(void *)pair, before, after);
    adm_crash_point(true);
    return won;
}

/* Adds to a statistic that only this process writes. The GIL orders its threads, so a load and a store
 * suffice; where there is no GIL it is one atomic addition. Release: whoever loads this count also sees
 * what was counted before it, so no reader finds an outcome whose admission he cannot find. */
static inline void adm_count(adm_word *word, uint64_t amount)
{
    adm_crash_point(true);
#ifdef Py_GIL_DISABLED
    atomic_fetch_add_explicit(&word->bits, amount, memory_order_release);
#else
    atomic_store_explicit(
        &word->bits,
        atomic_load_explicit(&word->bits, memory_order_relaxed) + amount,
        memory_order_release);
#endif
    adm_crash_point(true);
}

#endif
