/*
 * Power cuts. A seeded workload (workload.h) runs on a qcow2 image over a disk in
 * memory that records; cuts.h makes the states that a cut may leave; oracle.h says
 * whether a state is good. Some images go on as a cut has left them, and are cut
 * again. SEED=n COUNT=n runs that many workloads; else as many as give the states
 * of a slice, of the suite (CAIRN_SUITE), or STATES.
 */
#include <glib.h>

#include "tests/crash/changes.h"
#include "tests/crash/oracle.h"
#include "tests/crash/workload.h"
#include "tests/tools/tally.h"

enum { SAMPLE = 60, WHOLE = 1000, SLICE = 2000, SUITE = 20000 };

static struct oracle *oracle;

/* A sample of the workload's states, or one time in five all of them; one of them is saved. */
static int64_t cut_everywhere(struct workload *w)
{
    int64_t states = 0, save = rng_below(&w->rng, SAMPLE * 2);
    cuts_choose(w->cuts, rng_percent(&w->rng, 20) ? WHOLE : SAMPLE, rng_next(&w->rng));
    for (; cuts_next(w->cuts); states++) {
        if (states == save)
            cuts_save(w->cuts);
        oracle_verify(oracle, w);
    }
    return states;
}

static int64_t crash_run(const struct setup *setup, uint64_t seed)
{
    struct workload w;
    workload_init(&w, setup, seed);
    workload_run(&w);
    int64_t states = cut_everywhere(&w);
    while (cuts_return(w.cuts)) {
        workload_run_again(&w);
        states += cut_everywhere(&w);
    }
    workload_done(&w);
    return states;
}

static void test_setup(gconstpointer data)
{
    const struct setup *setup = data;
    uint64_t seed = (uint64_t)tally_environment("SEED", 1);
    int64_t count = tally_environment("COUNT", INT64_MAX);
    int64_t want = tally_environment("STATES", g_getenv("CAIRN_SUITE") ? SUITE : SLICE);
    want = count < INT64_MAX ? INT64_MAX : want * setup->share / 100;
    for (int64_t have = 0; count > 0 && have < want; count--)
        have += crash_run(setup, seed++);
}

int main(int argc, char **argv)
{
    static const struct setup setups[] = {
        {9, true, 1, 25, false},   {9, false, 1, 10, false}, {9, false, 5, 8, false},
        {9, true, 5, 5, false},    {9, true, 1, 2, true},    {12, true, 1, 15, false},
        {12, false, 5, 10, false}, {16, true, 1, 12, false}, {16, false, 5, 8, false},
        {21, true, 1, 3, false},   {21, false, 1, 2, false},
    };
    g_test_init(&argc, &argv, NULL);
    oracle = oracle_new();
    for (size_t i = 0; i < G_N_ELEMENTS(setups); i++) {
        g_autofree char *name = g_strdup_printf(
            "/crash/cluster-%d%s%s%s", 1 << setups[i].cluster_bits, setups[i].wide ? "-wide" : "",
            setups[i].changes ? "-changes" : "", setups[i].workers > 1 ? "-parallel" : "");
        g_test_add_data_func(name, &setups[i], test_setup);
    }
    int status = g_test_run();
    oracle_finish(oracle);
    changes_print();
    return status;
}
