/* What a core built with ADM_CRASH_POINTS calls before and after every atomic step. */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

uint64_t adm_crash_steps;       /* points passed so far */
uint64_t adm_crash_at;          /* the point that kills; zero: none */
uint32_t adm_crash_writes_only; /* points round a load count too, unless this is set */

void adm_crash_point(bool writes)
{
    if (adm_crash_writes_only && !writes) {
        return;
    }
    if (++adm_crash_steps == adm_crash_at) {
        kill(getpid(), SIGKILL);
    }
}
