/* Batches and the pipeline: how work is cut, ordered, stopped and failed. */
#include <errno.h>

#include "libblock/jobs/batch.h"
#include "libblock/jobs/pipeline.h"
#include "libblock/jobs/sink.h"
#include "tests/unit/libblock-fixture.h"

/* ---- cutting ---- */

static struct batch *batch_of(int64_t end, int64_t align, int64_t chunk, const struct range *ranges,
                              int count)
{
    struct batch *batch = g_new0(struct batch, 1);
    *batch = (struct batch){.end = end, .align = align, .chunk = chunk, .lane_count = 1, .refs = 1};
    for (int i = 0; i < count; i++) {
        struct blk_extent extent = {.offset = ranges[i].offset,
                                    .length = ranges[i].end - ranges[i].offset,
                                    .flags = EXTENT_DATA};
        extents_add(&batch->lanes[0], &extent);
    }
    return batch;
}

static void test_runs_are_aligned_and_merged(void)
{
    const struct range data[] = {{10, 20}, {90, 100}, {130, 140}, {500, 501}};
    struct batch *batch = batch_of(600, 64, 128, data, 4);
    struct range run;
    g_assert_true(batch_next_run(batch, 0, 1024, &run));
    g_assert_cmpint(run.offset, ==, 0);
    g_assert_cmpint(run.end, ==, 192);
    g_assert_true(batch_next_run(batch, 192, 1024, &run));
    g_assert_cmpint(run.offset, ==, 448);
    g_assert_cmpint(run.end, ==, 512);
    g_assert_false(batch_next_run(batch, 512, 1024, &run));
    batch_unref(batch);
}

static void test_runs_end_with_the_batch(void)
{
    const struct range data[] = {{100, 150}};
    struct batch *batch = batch_of(150, 64, 128, data, 1);
    struct range run;
    g_assert_true(batch_next_run(batch, 0, 1024, &run));
    g_assert_cmpint(run.offset, ==, 64);
    g_assert_cmpint(run.end, ==, 150);
    batch_unref(batch);
}

/* Items hold at most a chunk, cover everything, and gaps cost nothing. */
static void test_items_cover_the_batch(void)
{
    const struct range data[] = {{0, 1000}, {100000, 100010}, {200000, 200010}, {300000, 300500}};
    struct batch *batch = batch_of(1 << 20, 64, 256, data, 4);
    int items = 0;
    for (int64_t pos = 0, end; pos < batch->end; pos = end, items++) {
        int64_t held = 0;
        struct range run = {pos, pos};
        end = batch_item_end(batch, pos);
        g_assert_cmpint(end, >, pos);
        while (batch_next_run(batch, run.end, 256, &run) && run.offset < end) {
            held += min_i64(run.end, end) - run.offset;
        }
        g_assert_cmpint(held, <=, 256);
    }
    g_assert_cmpint(items, ==, 7);
    batch_unref(batch);
}

/* Letters are units of data, dots of zeroes; the stretches that are not holes come out in []. */
static void check_data(const char *units, int sparse, const char *expected)
{
    int64_t length = (int64_t)strlen(units), pos = 0, end;
    g_autofree uint8_t *buf = g_malloc0(length * 512);
    g_autoptr(GString) got = g_string_new(NULL);
    for (int64_t i = 0; i < length; i++) {
        buf[i * 512 + 100] = units[i] != '.';
    }
    while ((end = data_next(buf, length * 512, 512, sparse * 512, &pos)) >= 0) {
        g_string_append_printf(got, "[%d-%d]", (int)(pos / 512), (int)(end / 512));
        pos = end;
    }
    g_assert_cmpstr(got->str, ==, expected);
}

static void test_data_between_zeroes(void)
{
    check_data("", 1, "");
    check_data("....", 1, "");
    check_data("aa..a", 1, "[0-2][4-5]");
    check_data("aa..a", 3, "[0-5]");
    check_data("..a...a.", 3, "[0-3][6-8]");
    check_data("...a", 3, "[3-4]");
    check_data("..", 3, "[0-2]");
    check_data("a...", 3, "[0-1]");
}

/* ---- running ---- */

enum { ITEMS = 400, ITEM = 4096 };

struct run {
    struct fixture f;
    struct pipeline_task task;
    struct job *job;
    int64_t fail_at[2]; /* offsets; 0: none */
    int64_t stop_at;    /* asked for by the item there */
    int cancel_at;
    GArray *order; /* sequences, as they had their turn */
    int seen[ITEMS];
    bool ok;
    GError *error;
};

static void *share_new(void *user)
{
    return user;
}

static void *slot_new(void *user, void *share)
{
    g_assert_true(user == share);
    return user;
}

static void forget(void *user)
{
}

static struct batch *co_plan(void *user, int64_t from, GError **error)
{
    int64_t end = min_i64(from + 50 * ITEM, ITEMS * ITEM);
    const struct range all = {from, end};
    struct batch *batch = batch_of(end, ITEM, ITEM, &all, 1);
    batch->offset = from;
    return batch;
}

static bool co_item(struct pipeline *pipeline, void *slot, const struct pipeline_item *item,
                    GError **error)
{
    struct run *run = slot;
    int64_t number = item->offset / ITEM;
    g_assert_cmpint(item->end - item->offset, ==, ITEM);
    g_assert_cmpint(__atomic_add_fetch(&run->seen[number], 1, __ATOMIC_RELAXED), ==, 1);
    if (run->cancel_at && number == run->cancel_at) {
        job_cancel(run->job);
    }
    if (run->stop_at && item->offset == run->stop_at) {
        pipeline_stop_at(pipeline, run->stop_at);
    }
    if (item->sequence % 7 == 0) {
        loop_co_sleep(20000);
    }
    for (int i = 0; i < 2; i++) {
        if (run->fail_at[i] && item->offset == run->fail_at[i]) {
            return error_set(error, EIO, "item %" PRId64, number);
        }
    }
    if (pipeline_co_take_turn(pipeline, item)) {
        g_array_append_val(run->order, item->sequence);
        if (item->sequence % 11 == 0) {
            loop_co_sleep(10000);
        }
        pipeline_pass_turn(pipeline);
    }
    return true;
}

static bool co_run_pipeline(struct job *job, void *arg, GError **error)
{
    struct run *run = arg;
    run->task.job = job;
    return pipeline_co_run(&run->task, error);
}

static void run_pipeline(struct run *run, int threads)
{
    static const struct job_type type = {.name = "test", .co_run = co_run_pipeline};
    run->task = (struct pipeline_task){.user = run,
                                       .total = (int64_t)ITEMS * ITEM,
                                       .threads = threads,
                                       .depth = 3,
                                       .co_plan = co_plan,
                                       .share_new = share_new,
                                       .share_free = forget,
                                       .slot_new = slot_new,
                                       .slot_free = forget,
                                       .co_item = co_item};
    fixture_init(&run->f);
    run->order = g_array_new(false, false, sizeof(int64_t));
    run->job = job_new(&type, run);
    run->ok = job_run(run->job, run->f.graph, NULL, NULL, &run->error);
}

static void run_done(struct run *run)
{
    job_free(run->job);
    g_array_unref(run->order);
    g_clear_error(&run->error);
    fixture_done(&run->f);
}

static void check_order(const struct run *run)
{
    for (guint i = 0; i < run->order->len; i++) {
        g_assert_cmpint(g_array_index(run->order, int64_t, i), ==, i);
    }
}

static void test_turns_come_in_order(gconstpointer threads)
{
    struct run run = {0};
    run_pipeline(&run, GPOINTER_TO_INT(threads));
    g_assert_no_error(run.error);
    g_assert_true(run.ok);
    g_assert_cmpint(run.order->len, ==, ITEMS);
    g_assert_cmpint(job_progress(run.job).done, ==, (int64_t)ITEMS * ITEM);
    check_order(&run);
    run_done(&run);
}

/* Whoever fails first, the error is the lowest item's that failed; nothing past it gets a turn. */
static void test_failure_stops_all(gconstpointer threads)
{
    struct run run = {.fail_at = {100 * ITEM, 102 * ITEM}};
    run_pipeline(&run, GPOINTER_TO_INT(threads));
    g_assert_false(run.ok);
    g_assert_error(run.error, CAIRN_ERROR, EIO);
    g_assert_cmpuint(run.order->len, <=, 102);
    g_assert_cmpint(run.seen[ITEMS - 1], ==, 0);
    check_order(&run);
    run_done(&run);
}

static void test_cancel_stops_all(gconstpointer threads)
{
    struct run run = {.cancel_at = 50};
    run_pipeline(&run, GPOINTER_TO_INT(threads));
    g_assert_error(run.error, CAIRN_ERROR, ECANCELED);
    g_assert_cmpint(run.seen[ITEMS - 1], ==, 0);
    run_done(&run);
}

/* What lies before the place is done all the same. */
static void test_stop_finishes_what_comes_before(gconstpointer threads)
{
    struct run run = {.stop_at = 60 * ITEM};
    run_pipeline(&run, GPOINTER_TO_INT(threads));
    g_assert_true(run.ok);
    for (int i = 0; i <= 60; i++) {
        g_assert_cmpint(run.seen[i], ==, 1);
    }
    g_assert_cmpint(run.seen[ITEMS - 1], ==, 0);
    run_done(&run);
}

static void add(const char *name, GTestDataFunc test)
{
    for (int threads = 1; threads <= 4; threads++) {
        g_autofree char *path = g_strdup_printf("/pipeline/%s/%d-threads", name, threads);
        g_test_add_data_func(path, GINT_TO_POINTER(threads), test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/batch/runs-are-aligned-and-merged", test_runs_are_aligned_and_merged);
    g_test_add_func("/batch/runs-end-with-the-batch", test_runs_end_with_the_batch);
    g_test_add_func("/batch/items-cover-the-batch", test_items_cover_the_batch);
    g_test_add_func("/batch/data-between-zeroes", test_data_between_zeroes);
    add("turns-come-in-order", test_turns_come_in_order);
    add("failure-stops-all", test_failure_stops_all);
    add("cancel-stops-all", test_cancel_stops_all);
    add("stop-finishes-what-comes-before", test_stop_finishes_what_comes_before);
    return g_test_run();
}
