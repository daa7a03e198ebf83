/*
 * cairn-img bench: how long so many requests take. Each of `depth` slots has one
 * request in flight; a finished one makes room for the next. Flushes come after
 * every so many writes, once those have ended, or with --no-drain at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/size.h"
#include "img-tool/image.h"
#include "img-tool/tool.h"

enum { BUFFER_ALIGN = 4096 };

static const char *const bench_aio_words[] = {"threads", "native", "io_uring", NULL};

struct bench_options {
    struct image_args image;
    char *count, *depth, *offset, *buffer, *step, *pattern, *interval, *aio;
    bool write, no_drain, native, quiet;
};

#define ROW_TEXT(letters, metavar, member, name, dflt, help)                                       \
    {                                                                                              \
        letters, metavar, FIELD(struct bench_options, member, name, dflt, help), NULL              \
    }
#define ROW_FLAG(letters, member, name, help)                                                      \
    {                                                                                              \
        letters, NULL, FIELD(struct bench_options, member, name, NULL, help), NULL                 \
    }

static const struct cli_option bench_options[] = {
    IMAGE_ROW_FORMAT(struct bench_options, "f", "format",
                     "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct bench_options),
    IMAGE_ROW_CACHE(struct bench_options, "t", "cache"),
    ROW_TEXT("c", "COUNT", count, "count", "75000", "how many requests"),
    ROW_TEXT("d", "DEPTH", depth, "depth", "64", "how many of them at once"),
    ROW_TEXT("o", "OFFSET", offset, "offset", "0", "where the first one begins"),
    ROW_TEXT("s", "SIZE", buffer, "buffer-size", "4k", "bytes of each"),
    ROW_TEXT("S", "SIZE", step, "step-size", NULL,
             "bytes from one to the next; those of each if not said"),
    ROW_FLAG("w", write, "write", "write instead of reading"),
    ROW_TEXT(NULL, "BYTE", pattern, "pattern", "0", "the byte that is written"),
    ROW_TEXT(NULL, "N", interval, "flush-interval", NULL, "flush after so many writes"),
    ROW_FLAG(NULL, no_drain, "no-drain", "do not wait for those writes before the flush"),
    ROW_TEXT("i", "AIO", aio, "aio", NULL, "how files are accessed: threads, native, io_uring"),
    ROW_FLAG("n", native, "native", "the same as -i native"),
    IMAGE_ROW_SHARE(struct bench_options),
    ROW_FLAG("q", quiet, "quiet", "print errors only"),
    IMAGE_ROW_OBJECT(struct bench_options),
    IMAGE_ROWS_TRUST(struct bench_options),
    {0}};

/* ---- what is asked for ---- */

struct plan {
    int64_t count, depth, offset, buffer, step, pattern, interval;
};

static bool parse_number(const char *text, const char *what, int64_t min, int64_t max,
                         int64_t *ret_number, GError **error)
{
    g_autoptr(GError) bad = NULL;
    bool negative = text[0] == '-' && g_ascii_isdigit(text[1]);
    int64_t number = -1;
    if (!negative && !size_parse(text, what, &number, &bad) && bad->code != ERANGE) {
        return error_set(error, EINVAL, "Invalid %s specified: '%s'", what, text);
    }
    if (bad || number < min || number > max) {
        return error_set(error, EINVAL,
                         "Invalid %s specified. Must be between %" PRId64 " and %" PRId64 ".", what,
                         min, max);
    }
    *ret_number = number;
    return true;
}

static bool parse_plan(const struct bench_options *o, struct plan *ret_plan, GError **error)
{
    struct plan plan = {0};
    const struct {
        const char *text, *what;
        int64_t min, max, *number;
    } rows[] = {
        {o->count, "request count", 1, INT32_MAX, &plan.count},
        {o->depth, "queue depth", 1, INT32_MAX, &plan.depth},
        {o->offset, "offset", 0, INT64_MAX, &plan.offset},
        {o->buffer, "buffer size", 1, INT32_MAX, &plan.buffer},
        {o->step ? o->step : o->buffer, "step size", 0, INT32_MAX, &plan.step},
        {o->pattern, "pattern byte", 0, 255, &plan.pattern},
        {o->interval ? o->interval : "0", "flush interval", 0, INT32_MAX, &plan.interval},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (!parse_number(rows[i].text, rows[i].what, rows[i].min, rows[i].max, rows[i].number,
                          error)) {
            return false;
        }
    }
    if (plan.interval && !o->write) {
        return error_set(error, EINVAL, "--flush-interval is only available in write tests");
    }
    if (plan.interval && plan.interval < plan.depth) {
        return error_set(error, EINVAL, "Flush interval can't be smaller than depth");
    }
    *ret_plan = plan;
    return true;
}

static bool check_aio(struct session *session, const struct bench_options *o, uint32_t flags,
                      GError **error)
{
    const char *aio = o->native ? "native" : o->aio;
    if (aio && !g_strv_contains(bench_aio_words, aio)) {
        return error_set(error, EINVAL, "Invalid aio option: %s", aio);
    }
    if (aio && !strcmp(aio, "native") && !(flags & NODE_DIRECT)) {
        return error_set(error, EINVAL,
                         "aio=native was specified, but it requires cache.direct=on, which was not "
                         "specified.");
    }
    loop_use_ring(session->loop, g_strcmp0(aio, "threads") != 0);
    return true;
}

/* ---- running ---- */

struct slot {
    struct blk_request request;
    struct iovec iov;
    bool busy;
    struct bench *bench;
};

struct bench {
    const struct plan *plan;
    bool write, no_drain;
    struct blk_node *node;
    struct slot *slots; /* plan->depth, and one for the flush */
    int64_t next, started, in_flight, since_flush;
    int result; /* the first failure, -errno */
};

static void on_done(struct blk_request *request, int result)
{
    struct slot *slot = request->user;
    struct bench *bench = slot->bench;
    slot->busy = false;
    bench->in_flight--;
    bench->result = bench->result ? bench->result : result;
}

static void start(struct bench *bench, struct slot *slot, enum req_kind kind)
{
    slot->busy = true;
    bench->in_flight++;
    slot->request.kind = kind;
    slot->request.offset = kind == REQ_FLUSH ? 0 : bench->next;
    slot->request.length = kind == REQ_FLUSH ? 0 : bench->plan->buffer;
    node_submit(bench->node, &slot->request);
}

/* The next request's place; after the image's end it goes on from its beginning. */
static void advance(struct bench *bench)
{
    bench->started++;
    bench->since_flush++;
    bench->next += bench->plan->step;
    if (bench->next > node_size(bench->node) - bench->plan->buffer) {
        bench->next = 0;
    }
}

/* Starts a flush where it is due. True when requests must wait for it. */
static bool flush_if_due(struct bench *bench)
{
    struct slot *slot = &bench->slots[bench->plan->depth];
    if (!bench->plan->interval || bench->since_flush < bench->plan->interval) {
        return slot->busy && !bench->no_drain;
    }
    if (slot->busy || (bench->in_flight && !bench->no_drain)) {
        return true;
    }
    bench->since_flush = 0;
    start(bench, slot, REQ_FLUSH);
    return !bench->no_drain;
}

/* Starts what can be started now. */
static void start_some(struct bench *bench)
{
    for (int64_t i = 0; i < bench->plan->depth && !bench->result; i++) {
        if (flush_if_due(bench) || bench->started == bench->plan->count) {
            return;
        }
        if (!bench->slots[i].busy) {
            start(bench, &bench->slots[i], bench->write ? REQ_WRITE : REQ_READ);
            advance(bench);
        }
    }
}

static bool run(struct bench *bench, struct loop *loop, GError **error)
{
    do {
        start_some(bench);
        loop_turn(loop, true);
    } while (bench->in_flight || (bench->started < bench->plan->count && !bench->result));
    return !bench->result || error_set_errno(error, -bench->result, "Failed request");
}

static bool make_slots(struct bench *bench, uint8_t *buffer)
{
    int64_t depth = bench->plan->depth;
    bench->slots = g_try_new0(struct slot, depth + 1);
    for (int64_t i = 0; bench->slots && i <= depth; i++) {
        struct slot *slot = &bench->slots[i];
        slot->iov = (struct iovec){buffer + (i < depth ? i : 0) * bench->plan->buffer,
                                   (size_t)bench->plan->buffer};
        slot->request = (struct blk_request){.iov = &slot->iov, .done = on_done, .user = slot};
        slot->bench = bench;
    }
    return bench->slots != NULL;
}

static bool bench_node(struct session *session, struct bench *bench, bool quiet, GError **error)
{
    const struct plan *plan = bench->plan;
    void *buffer = NULL;
    size_t size = (size_t)plan->depth * (size_t)plan->buffer;
    bool done = !posix_memalign(&buffer, BUFFER_ALIGN, size) && make_slots(bench, buffer);
    if (!done) {
        free(buffer);
        return error_set(error, ENOMEM, "no memory for %" PRId64 " buffers of %" PRId64 " bytes",
                         plan->depth, plan->buffer);
    }
    memset(buffer, (int)plan->pattern, size);
    if (!quiet) {
        tool_printf("Sending %" PRId64 " %s requests, %" PRId64 " bytes each, %" PRId64
                    " in parallel (starting at offset %" PRId64 ", step size %" PRId64 ")\n",
                    plan->count, bench->write ? "write" : "read", plan->buffer, plan->depth,
                    plan->offset, plan->step);
        if (plan->interval) {
            tool_printf("Sending flush every %" PRId64 " requests\n", plan->interval);
        }
    }
    int64_t start_us = g_get_monotonic_time();
    done = run(bench, session->loop, error) || image_name_error(node_filename(bench->node), error);
    if (done && !quiet) {
        tool_printf("Run completed in %3.3f seconds.\n",
                    (double)(g_get_monotonic_time() - start_us) / 1000000.0);
    }
    g_free(bench->slots);
    free(buffer);
    return done;
}

static bool bench_name(struct session *session, const struct bench_options *o,
                       const struct plan *plan, const char *name, GError **error)
{
    uint32_t flags = o->write ? NODE_RDWR : 0;
    uint32_t cache = 0;
    if (!image_cache_flags(o->image.cache, &cache, error) || !check_aio(session, o, cache, error)) {
        return false;
    }
    struct blk_node *node = image_open(session, &o->image, name, o->image.format, flags, error);
    struct bench bench = {.plan = plan,
                          .write = o->write,
                          .no_drain = o->no_drain,
                          .node = node,
                          .next = plan->offset};
    bool done = node && bench_node(session, &bench, o->quiet, error);
    return image_close(&node, error) && done;
}

static int bench_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct bench_options *options = data;
    struct session session = {0};
    struct plan plan;
    bool done = parse_plan(options, &plan, error) &&
                image_confine(&options->image, names, options->write, error) &&
                session_start(&session, &options->image, error) &&
                bench_name(&session, options, &plan, names[0], error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const bench_notes[] = {
    "Requests follow each other through the image, and start again at its beginning when they come "
    "to its end. With -w the image is overwritten.",
    "A figure is worth something only beside another one from the same machine. It includes "
    "whatever the host's page cache does, unless -t none is given.",
    NULL};

static const struct cli_example bench_examples[] = {
    {"Read an image in requests of 64 KiB", "cairn-img bench -c 100 -s 64k disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 64M"},
    {"Write with a flush after every 64 requests",
     "cairn-img bench -w -c 200 --flush-interval 64 disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 64M"},
    {0}};

const struct cli_command bench_command = {
    .name = "bench",
    .summary = "time many requests on an image",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = bench_options,
    .args_size = sizeof(struct bench_options),
    .notes = bench_notes,
    .examples = bench_examples,
    .run = bench_run,
};
