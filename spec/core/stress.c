/* A storm over each number of lanes.  core_stress [SEED [SWITCHES]] */

#include "host.h"
#include "storm.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20260704;
    long switches = argc > 2 ? atol(argv[2]) : SANITIZED ? 50000 : 300000;
    const unsigned limits[] = {1, 2, 7, ML_LANES_DEFAULT};
    host_install();
    for (int i = 0; i < 4; i++) {
        ml_set_lane_limit(limits[i]);
        ml_current();
        storm(seed + (uint64_t)i, switches);
        ml_counts counts = ml_thread_counts();
        printf("stress: %u lanes of %u, %ld switches, %llu evictions\n", counts.lanes, limits[i],
               switches, (unsigned long long)counts.evictions);
        fflush(stdout);
        CHECK(counts.lanes <= limits[i]);
        CHECK(limits[i] != 1 || counts.evictions > 0);
        host_thread_exit();
        CHECK(host_greenlets() == 0 && host_memory() == 0 && host_parcels() == 0);
    }
    return 0;
}
