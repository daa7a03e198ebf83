#include "tests/model/sequence.h"

#include <glib/gstdio.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/co-lock.h"
#include "base/loop.h"
#include "libblock/libblock.h"
#include "tests/model/changes.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/tools/tally.h"

enum { MAX_BATCH = 6 };

/* One request of a batch; batches run concurrently, by coroutines or by node_submit(). */
struct step {
    struct world *world;
    struct blk_request request;
    struct iovec iov[3];
    uint8_t *buf;
    int result;
    int *pending;
    struct co_queue *done;
};

G_GNUC_PRINTF(2, 3)
static void fail(struct world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args), *where = world_describe(world);
    va_end(args);
    g_error("seed %" PRIu64 ", %s: %s", world->seed, where, text);
}

static void tell(const struct step *step)
{
    static const char *const names[] = {"read", "write", "zero", "discard", "flush"};
    if (g_getenv("VERBOSE"))
        fprintf(stderr, "  %s %" PRId64 " +%" PRId64 "\n", names[step->request.kind],
                step->request.offset, step->request.length);
}

/* Offsets and lengths near cluster edges, sector edges and anywhere. */
static int64_t pick_offset(struct world *world, int64_t limit)
{
    static const int64_t grains[] = {1, 512, 4096};
    int64_t pick = rng_below(&world->rng, 4);
    int64_t grain = pick < 3 ? grains[pick] : INT64_C(1) << world->cluster_bits;
    int64_t offset = align_down(rng_below(&world->rng, limit), grain);
    if (rng_percent(&world->rng, 10) && offset > 0)
        offset--;
    return offset;
}

static void pick_range(struct world *world, int64_t low, int64_t high, int64_t *ret_offset,
                       int64_t *ret_length)
{
    int64_t offset = low + pick_offset(world, high - low);
    int64_t room = high - offset;
    int64_t most = rng_percent(&world->rng, 80) ? MIN(room, 16 * KiB) : room;
    int64_t length = 1 + rng_below(&world->rng, most);
    if (rng_percent(&world->rng, 50))
        length = MIN(align_up(length, 512), room);
    *ret_offset = offset;
    *ret_length = length;
}

/* Splits the buffer over up to three iovecs. */
static void split_iov(struct world *world, struct step *step)
{
    int64_t left = step->request.length;
    uint8_t *at = step->buf;
    for (int i = 0; i < 3; i++) {
        int64_t part = i < 2 ? rng_below(&world->rng, left + 1) : left;
        step->iov[i] = (struct iovec){at, (size_t)part};
        at += part;
        left -= part;
    }
    step->request.iov = step->iov;
}

static void pick_step(struct world *world, int64_t low, int64_t high, struct step *step)
{
    int64_t dice = rng_below(&world->rng, 100);
    struct blk_request *request = &step->request;
    *step = (struct step){.world = world};
    pick_range(world, low, high, &request->offset, &request->length);
    request->kind = dice < 30   ? REQ_READ
                    : dice < 70 ? REQ_WRITE
                    : dice < 85 ? REQ_ZERO
                                : REQ_DISCARD;
    if (request->kind == REQ_WRITE || request->kind == REQ_ZERO)
        request->flags = rng_percent(&world->rng, 5) ? REQ_FUA : 0;
    if (request->kind == REQ_ZERO && rng_percent(&world->rng, 50))
        request->flags |= REQ_MAY_UNMAP;
    if (request->kind <= REQ_WRITE) {
        step->buf = g_malloc((gsize)request->length);
        memset(step->buf, (int)rng_between(&world->rng, 0, 255), (size_t)request->length);
        split_iov(world, step);
    }
    tell(step);
}

static void step_co_run(void *arg)
{
    struct step *step = arg;
    struct blk_request *request = &step->request;
    struct blk_node *node = step->world->node;
    struct span span = {step->iov, 0};
    switch (request->kind) {
    case REQ_READ: step->result = node_co_read(node, request->offset, request->length, span); break;
    case REQ_WRITE:
        step->result = node_co_write(node, request->offset, request->length, span, request->flags);
        break;
    case REQ_ZERO:
        step->result = node_co_zero(node, request->offset, request->length, request->flags);
        break;
    case REQ_DISCARD: step->result = node_co_discard(node, request->offset, request->length); break;
    case REQ_FLUSH: step->result = node_co_flush(node); break;
    }
    if (--*step->pending == 0 && step->done)
        co_queue_wake_all(step->done);
}

struct batch {
    struct step steps[MAX_BATCH];
    int count;
};

static void batch_co_run(void *arg)
{
    struct batch *batch = arg;
    struct co_queue done = {0};
    int pending = batch->count;
    for (int i = 0; i < batch->count; i++) {
        batch->steps[i].pending = &pending;
        batch->steps[i].done = &done;
    }
    for (int i = 0; i < batch->count; i++)
        loop_spawn(batch->steps[i].world->loop, step_co_run, &batch->steps[i]);
    if (pending)
        co_queue_co_wait(&done);
}

static void submit_done(struct blk_request *request, int result)
{
    struct step *step = request->user;
    step->result = result;
    --*step->pending;
}

static void batch_submit(struct world *world, struct batch *batch)
{
    int pending = batch->count;
    for (int i = 0; i < batch->count; i++) {
        struct step *step = &batch->steps[i];
        step->pending = &pending;
        step->request.done = submit_done;
        step->request.user = step;
        node_submit(world->node, &step->request);
    }
    while (pending)
        loop_turn(world->loop, true);
}

/* After a discard each sector may read as before, as zero or as the backing file: learn which. */
static void learn_discard(struct world *world, int64_t offset, int64_t length)
{
    g_autofree uint8_t *now = g_malloc((gsize)length);
    int r = node_read(world->node, offset, length, now);
    if (r < 0)
        fail(world, "reading after a discard: %s", g_strerror(-r));
    for (int64_t i = 0; i < length; i++) {
        uint8_t was = world->bytes[offset + i], below = world->beneath[offset + i];
        if (now[i] != was && now[i] != 0 && now[i] != below)
            fail(world, "after a discard, byte %" PRId64 " reads as %#x: neither old nor zero",
                 offset + i, now[i]);
        world->bytes[offset + i] = now[i];
    }
}

static void compare_bytes(struct world *world, const uint8_t *got, int64_t offset, int64_t length)
{
    const uint8_t *want = world->bytes + offset;
    if (memcmp(got, want, (size_t)length) == 0)
        return;
    int64_t i = 0;
    while (got[i] == want[i])
        i++;
    fail(world, "byte %" PRId64 " reads as %#x, not %#x", offset + i, got[i], want[i]);
}

/* Checks a finished step and takes it over into the model. */
static void absorb(struct step *step)
{
    struct blk_request *request = &step->request;
    struct world *world = step->world;
    if (step->result < 0)
        fail(world, "request kind %d at %" PRId64 " +%" PRId64 ": %s", request->kind,
             request->offset, request->length, g_strerror(-step->result));
    if (request->kind == REQ_READ)
        compare_bytes(world, step->buf, request->offset, request->length);
    else if (request->kind == REQ_WRITE)
        memcpy(world->bytes + request->offset, step->buf, (size_t)request->length);
    else if (request->kind == REQ_ZERO)
        memset(world->bytes + request->offset, 0, (size_t)request->length);
    g_clear_pointer(&step->buf, g_free);
}

/* One to MAX_BATCH concurrent requests over ranges that do not overlap. */
static void do_batch(struct world *world)
{
    struct batch batch = {.count = (int)rng_between(&world->rng, 1, MAX_BATCH)};
    int64_t low = 0;
    if (rng_percent(&world->rng, 40) || batch.count > world->size)
        batch.count = 1;
    int64_t window = world->size / batch.count;
    for (int i = 0; i < batch.count; i++) {
        int64_t high = i == batch.count - 1 ? world->size : low + window;
        pick_step(world, low, high, &batch.steps[i]);
        low = batch.steps[i].request.offset + batch.steps[i].request.length;
        low = rng_percent(&world->rng, 50) ? MAX(high, low) : low;
        if (low >= world->size)
            batch.count = i + 1;
    }
    if (rng_percent(&world->rng, 25))
        batch_submit(world, &batch);
    else
        loop_call(world->loop, batch_co_run, &batch);
    for (int i = 0; i < batch.count; i++)
        absorb(&batch.steps[i]);
    for (int i = 0; i < batch.count; i++)
        if (batch.steps[i].request.kind == REQ_DISCARD)
            learn_discard(world, batch.steps[i].request.offset, batch.steps[i].request.length);
}

static void verify_contents(struct world *world)
{
    g_autofree uint8_t *now = g_malloc((gsize)world->size);
    int r = node_read(world->node, 0, world->size, now);
    if (r < 0)
        fail(world, "reading it all: %s", g_strerror(-r));
    compare_bytes(world, now, 0, world->size);
}

/* The map covers every byte once; what it calls zero is zero. */
static void verify_map(struct world *world)
{
    struct extent_list list = {0};
    int64_t at = 0;
    uint32_t flags = rng_percent(&world->rng, 50) ? MAP_CHAIN | MAP_LEAF : MAP_CHAIN | MAP_HOLES;
    int r = node_map(world->node, 0, world->size, flags, &list);
    if (r < 0)
        fail(world, "map: %s", g_strerror(-r));
    for (int i = 0; i < list.count; i++) {
        const struct blk_extent *extent = &list.items[i];
        if (extent->offset != at || extent->length <= 0)
            fail(world, "map: extent %d begins at %" PRId64 ", not %" PRId64, i, extent->offset,
                 at);
        at += extent->length;
        if (at > world->size)
            fail(world, "map: extents end at %" PRId64, at);
        if ((extent->flags & EXTENT_ZERO) &&
            !bytes_are_zero(world->bytes + extent->offset, (size_t)extent->length))
            fail(world, "map: %" PRId64 " +%" PRId64 " is not zero", extent->offset,
                 extent->length);
    }
    if (at != world->size)
        fail(world, "map: ends at %" PRId64, at);
    extents_done(&list);
}

static void verify_image(struct world *world)
{
    g_autoptr(GBytes) bytes = world_image_bytes(world);
    gsize size;
    const uint8_t *data = g_bytes_get_data(bytes, &size);
    struct qcow2_ref ref = qcow2_ref_check(data, (int64_t)size);
    if (ref.corruptions || ref.leaks)
        fail(world, "%" PRId64 " corruptions, %" PRId64 " leaks: %s", ref.corruptions, ref.leaks,
             ref.first);
}

struct grow {
    struct world *world;
    int64_t size;
    bool ok;
    GError *error;
};

static void grow_co_run(void *arg)
{
    struct grow *grow = arg;
    grow->ok = node_co_resize(grow->world->node, grow->size, "off", &grow->error);
}

static void do_grow(struct world *world)
{
    if (world->kind == WORLD_RAW_SLICE)
        return;
    int64_t more = align_up(rng_between(&world->rng, 1, 64 * KiB), world->align);
    struct grow grow = {.world = world, .size = align_up(world->size, world->align) + more};
    loop_call(world->loop, grow_co_run, &grow);
    if (grow.ok)
        world_resize(world, grow.size);
    else if (!world_is_qcow2(world) || !g_error_matches(grow.error, CAIRN_ERROR, ENOTSUP))
        fail(world, "grow: %s", grow.error->message);
    g_clear_error(&grow.error);
}

static void write_compressed_co_run(void *arg)
{
    struct step *step = arg;
    struct blk_request *request = &step->request;
    step->result = node_co_write_compressed(step->world->node, request->offset, request->length,
                                            (struct span){step->iov, 0});
}

/* Some whole clusters, or up to the end; they can be compressed, or not, or some of them. */
static void do_write_compressed(struct world *world)
{
    int64_t cluster = INT64_C(1) << world->cluster_bits;
    struct step step = {.world = world};
    struct blk_request *request = &step.request;
    request->kind = REQ_WRITE;
    request->offset = align_down(rng_below(&world->rng, world->size), cluster);
    request->length = cluster * rng_between(&world->rng, 1, 4);
    request->length = MIN(request->length, world->size - request->offset);
    step.buf = g_malloc((gsize)request->length);
    int noise = (int)rng_below(&world->rng, 60);
    for (int64_t i = 0; i < request->length; i++)
        step.buf[i] = noise > 50 || rng_percent(&world->rng, noise) ? (uint8_t)rng_next(&world->rng)
                                                                    : (uint8_t)noise;
    split_iov(world, &step);
    tell(&step);
    loop_call(world->loop, write_compressed_co_run, &step);
    absorb(&step);
}

static void do_one(struct world *world)
{
    int64_t dice = rng_below(&world->rng, 100);
    if (dice < 3)
        world_reopen(world, true);
    else if (dice < 9 && world_is_qcow2(world))
        changes_do_one(world);
    else if (dice < 14 && world_is_qcow2(world))
        do_write_compressed(world);
    else if (dice < 17)
        do_grow(world);
    else if (dice < 23)
        g_assert_cmpint(node_flush(world->node), ==, 0);
    else
        do_batch(world);
}

static bool qemu_img(struct world *world, const char *const *argv)
{
    g_autofree char *output = NULL, *errors = NULL;
    int status = 0;
    GError *error = NULL;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, &errors,
                      &status, &error)) {
        g_clear_error(&error);
        return false;
    }
    if (status)
        fail(world, "%s %s: status %d\n%s%s", argv[0], argv[1], status, output, errors);
    return true;
}

/* The image as qemu-img sees it: no errors, no leaks, the model's bytes. */
static void verify_with_qemu_img(struct world *world)
{
    g_autofree char *image = g_strdup_printf("%s/sample.qcow2", world->folder);
    g_autofree char *raw = g_strdup_printf("%s/sample.raw", world->folder);
    g_autoptr(GBytes) bytes = world_image_bytes(world);
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    g_assert_true(g_file_set_contents(image, data, (gssize)size, NULL));
    g_assert_true(g_file_set_contents(raw, (char *)world->bytes, world->size, NULL));
    qemu_img(world, (const char *[]){"qemu-img", "check", "-q", "-f", "qcow2", image, NULL});
    qemu_img(world, (const char *[]){"qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", image,
                                     raw, NULL});
    g_unlink(image);
    g_unlink(raw);
}

/* Random writes and zeroes by qemu-io, which the model takes over. */
static char **qemu_io_script(struct world *world, const char *image)
{
    GPtrArray *argv = g_ptr_array_new();
    g_ptr_array_add(argv, g_strdup("qemu-io"));
    g_ptr_array_add(argv, g_strdup("-f"));
    g_ptr_array_add(argv, g_strdup("qcow2"));
    for (int64_t n = rng_between(&world->rng, 1, 8); n > 0; n--) {
        int64_t offset, length;
        int byte = rng_percent(&world->rng, 30) ? 0 : (int)rng_between(&world->rng, 1, 255);
        pick_range(world, 0, world->size, &offset, &length);
        g_ptr_array_add(argv, g_strdup("-c"));
        g_ptr_array_add(
            argv, byte ? g_strdup_printf("write -P %d %" PRId64 " %" PRId64, byte, offset, length)
                       : g_strdup_printf("write -z -u %" PRId64 " %" PRId64, offset, length));
        memset(world->bytes + offset, byte, (size_t)length);
    }
    g_ptr_array_add(argv, g_strdup(image));
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

/* qemu-io writes to the image, which is closed meanwhile, and we read it. */
static void write_with_qemu_io(struct world *world)
{
    g_autofree char *image = g_strdup_printf("%s/sample.qcow2", world->folder), *data = NULL;
    g_autofree char *program = g_find_program_in_path("qemu-io");
    g_autoptr(GBytes) bytes = world_image_bytes(world);
    gsize size;
    const char *old = g_bytes_get_data(bytes, &size);
    if (!program)
        return;
    g_assert_true(g_file_set_contents(image, old, (gssize)size, NULL));
    g_auto(GStrv) script = qemu_io_script(world, image);
    qemu_img(world, (const char *const *)script);
    g_assert_true(g_file_get_contents(image, &data, &size, NULL));
    world_set_image_bytes(world, data, size);
    g_unlink(image);
}

/* Both ways: it reads what we wrote, and we what it writes then. */
static void verify_with_peer(struct world *world)
{
    GError *error = NULL;
    verify_with_qemu_img(world);
    world_must(world, node_close(world->node, &error), error, "close");
    write_with_qemu_io(world);
    world->node = world_open(world, 0, 0);
    verify_contents(world);
    changes_verify_snapshots(world);
    verify_image(world);
}

void sequence_run(enum world_family family, uint64_t seed, const char *folder, bool sample)
{
    struct world world;
    world_init(&world, family, seed, folder);
    if (g_getenv("VERBOSE")) {
        g_autofree char *text = world_describe(&world);
        fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, text);
    }
    verify_contents(&world);
    for (int64_t n = rng_between(&world.rng, 5, 40); n > 0; n--)
        do_one(&world);
    verify_contents(&world);
    verify_map(&world);
    world_reopen(&world, false);
    verify_contents(&world);
    changes_verify_snapshots(&world);
    if (world_is_qcow2(&world))
        verify_image(&world);
    if (world_is_qcow2(&world) && sample && (!world.depth || world.kind == WORLD_QCOW2_FILE))
        verify_with_peer(&world);
    world_done(&world);
}

/* ---- the program ---- */

static struct {
    enum world_family family;
    uint64_t seed;
    int64_t count;
    char hint[200];
} run;

static void on_fatal(int sig)
{
    ssize_t ignored = write(STDERR_FILENO, run.hint, strlen(run.hint));
    (void)ignored;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void remove_folder(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_unlink(path);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(folder);
}

static void test_sequences(void)
{
    g_autofree char *folder = g_dir_make_tmp("cairn-model-XXXXXX", NULL);
    for (uint64_t seed = run.seed; seed < run.seed + (uint64_t)run.count; seed++) {
        snprintf(run.hint, sizeof(run.hint), "repeat with: SEED=%" PRIu64 " COUNT=1 VERBOSE=1 %s\n",
                 seed, g_get_prgname());
        sequence_run(run.family, seed, folder, seed % 200 == 1);
    }
    remove_folder(folder);
    tally_print("sequences", run.count);
    changes_print();
}

/* A slice for every day, or the whole suite's count; tests/shards asks for its own. */
static int64_t how_many(void)
{
    return g_getenv("CAIRN_SUITE") ? 10000 : 500;
}

int sequence_main(int argc, char **argv, enum world_family family)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGTERM};
    g_test_init(&argc, &argv, NULL);
    g_set_prgname(argv[0]);
    run.family = family;
    run.seed = (uint64_t)tally_environment("SEED", 1);
    run.count = tally_environment("COUNT", how_many());
    for (size_t i = 0; i < G_N_ELEMENTS(fatal); i++)
        signal(fatal[i], on_fatal);
    g_test_add_func("/model/sequences", test_sequences);
    return g_test_run();
}
