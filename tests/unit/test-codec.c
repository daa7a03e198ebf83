#include "codec/codec.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#define SIZE 65536

static uint8_t packed[SIZE + 1], back[SIZE + 1];

static const struct codec_options variants[] = {
    {CODEC_DEFLATE, 0, 0},  {CODEC_DEFLATE, 9, 15}, {CODEC_DEFLATE, 0, 12},
    {CODEC_DEFLATE, 9, 12}, {CODEC_ZSTD, 0, 0},     {CODEC_ZSTD, 9, 0},
};

/* Words of a small vocabulary: compressible, without a period. */
static uint8_t *text_new(uint32_t seed)
{
    uint8_t *data = g_malloc(SIZE);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    for (size_t i = 0; i < SIZE; i += 8) {
        uint64_t word = (uint64_t)g_rand_int_range(rand, 0, 500) * 0x9e3779b97f4a7c15u;
        memcpy(data + i, &word, 8);
    }
    return data;
}

static uint8_t *noise_new(void)
{
    uint8_t *data = g_malloc(SIZE);
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (uint8_t)g_rand_int(rand);
    }
    return data;
}

static void test_round_trip(gconstpointer data)
{
    struct codec_ctx *ctx = codec_ctx_new(data);
    g_autofree uint8_t *text = text_new(1);
    for (size_t len = 512; len <= SIZE; len *= 2) {
        int64_t n = codec_compress(ctx, text, len, packed, SIZE);
        g_assert_cmpint(n, >, 0);
        memset(back, 0xaa, sizeof(back));
        g_assert_cmpint(codec_decompress(ctx, packed, n, back, len), ==, 0);
        g_assert_cmpmem(back, len, text, len);
    }
    codec_ctx_free(ctx);
}

static void test_ignores_what_follows(gconstpointer data)
{
    struct codec_ctx *ctx = codec_ctx_new(data);
    g_autofree uint8_t *text = text_new(1);
    int64_t n = codec_compress(ctx, text, SIZE, packed, SIZE);
    memset(packed + n, 0x5a, 512);
    g_assert_cmpint(codec_decompress(ctx, packed, n + 511, back, SIZE), ==, 0);
    g_assert_cmpmem(back, SIZE, text, SIZE);
    codec_ctx_free(ctx);
}

static void test_cuts_long_output(gconstpointer data)
{
    struct codec_ctx *ctx = codec_ctx_new(data);
    g_autofree uint8_t *text = text_new(1);
    int64_t n = codec_compress(ctx, text, SIZE, packed, SIZE);
    g_assert_cmpint(codec_decompress(ctx, packed, n, back, SIZE / 2), ==, 0);
    g_assert_cmpmem(back, SIZE / 2, text, SIZE / 2);
    codec_ctx_free(ctx);
}

static void test_refuses_short_output(gconstpointer data)
{
    struct codec_ctx *ctx = codec_ctx_new(data);
    g_autofree uint8_t *text = text_new(1);
    int64_t n = codec_compress(ctx, text, SIZE / 2, packed, SIZE);
    g_assert_cmpint(codec_decompress(ctx, packed, n, back, SIZE), ==, -EIO);
    g_assert_cmpint(codec_decompress(ctx, packed, n / 2, back, SIZE / 2), ==, -EIO);
    g_assert_cmpint(codec_decompress(ctx, packed, 0, back, SIZE / 2), ==, -EIO);
    codec_ctx_free(ctx);
}

static void test_noise_does_not_fit(gconstpointer data)
{
    struct codec_ctx *ctx = codec_ctx_new(data);
    g_autofree uint8_t *noise = noise_new();
    g_assert_cmpint(codec_compress(ctx, noise, SIZE, packed, SIZE - 1), ==, -ENOSPC);
    codec_ctx_free(ctx);
}

/* Flips bits of good streams and feeds noise: any answer but a crash or a stray write. */
static void test_survives_damage(gconstpointer data)
{
    struct codec_ctx *ctx = codec_ctx_new(data);
    g_autofree uint8_t *text = text_new(1), *noise = noise_new();
    int64_t n = codec_compress(ctx, text, SIZE, packed, SIZE);
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    back[SIZE] = 0x77;
    for (int i = 0; i < 300; i++) {
        uint8_t *byte = &packed[g_rand_int_range(rand, 0, i < 150 ? 32 : (int)n)];
        uint8_t bit = (uint8_t)(1u << g_rand_int_range(rand, 0, 8));
        *byte ^= bit;
        codec_decompress(ctx, packed, n, back, SIZE);
        *byte ^= bit;
        codec_decompress(ctx, noise + i, 4096, back, SIZE);
    }
    g_assert_cmpint(back[SIZE], ==, 0x77);
    g_assert_cmpint(codec_decompress(ctx, packed, n, back, SIZE), ==, 0);
    g_assert_cmpmem(back, SIZE, text, SIZE);
    codec_ctx_free(ctx);
}

static void test_history_leaves_no_trace(gconstpointer data)
{
    struct codec_ctx *used = codec_ctx_new(data), *fresh = codec_ctx_new(data);
    g_autofree uint8_t *noise = noise_new();
    uint8_t *a = packed, *b = back;
    for (uint32_t seed = 1; seed < 20; seed++) {
        g_autofree uint8_t *text = text_new(seed);
        codec_compress(used, noise, SIZE, a, SIZE - 1);
        codec_compress(used, text, SIZE, a, SIZE);
    }
    g_autofree uint8_t *text = text_new(99);
    int64_t n = codec_compress(used, text, SIZE, a, SIZE);
    int64_t m = codec_compress(fresh, text, SIZE, b, SIZE);
    g_assert_cmpmem(a, n, b, m);
    codec_ctx_free(used);
    codec_ctx_free(fresh);
}

/* Some writers end a stream without its last block once the reader's output is full. */
static void test_deflate_without_end(void)
{
    struct codec_ctx *ctx = codec_ctx_new(&(struct codec_options){CODEC_DEFLATE, 0, 0});
    g_autofree uint8_t *text = text_new(1);
    z_stream stream = {.next_in = text, .avail_in = SIZE, .next_out = packed, .avail_out = SIZE};
    g_assert_cmpint(deflateInit2(&stream, 6, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_assert_cmpint(deflate(&stream, Z_SYNC_FLUSH), ==, Z_OK);
    g_assert_cmpint(codec_decompress(ctx, packed, stream.total_out, back, SIZE), ==, 0);
    g_assert_cmpmem(back, SIZE, text, SIZE);
    deflateEnd(&stream);
    codec_ctx_free(ctx);
}

/* A reader whose window is 4 KiB must be able to follow what window_bits 12 writes. */
static void test_narrow_window(void)
{
    struct codec_ctx *ctx = codec_ctx_new(&(struct codec_options){CODEC_DEFLATE, 0, 12});
    g_autofree uint8_t *noise = noise_new();
    uint8_t piece[256];
    memcpy(noise + 8192, noise, 8192);
    int64_t n = codec_compress(ctx, noise, 16384, packed, SIZE);
    g_assert_cmpint(n, >, 16000);
    z_stream stream = {.next_in = packed, .avail_in = n};
    g_assert_cmpint(inflateInit2(&stream, -12), ==, Z_OK);
    for (size_t done = 0; done < 16384; done += sizeof(piece)) {
        stream.next_out = piece;
        stream.avail_out = sizeof(piece);
        g_assert_cmpint(inflate(&stream, Z_NO_FLUSH), >=, Z_OK);
        g_assert_cmpmem(piece, sizeof(piece), noise + done, sizeof(piece));
    }
    inflateEnd(&stream);
    codec_ctx_free(ctx);
}

static void add(const char *name, GTestDataFunc test)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        const struct codec_options *v = &variants[i];
        g_autofree char *path =
            g_strdup_printf("/codec/%s/%s-level%d-window%d", name,
                            v->codec == CODEC_ZSTD ? "zstd" : "deflate", v->level, v->window_bits);
        g_test_add_data_func(path, v, test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("round-trip", test_round_trip);
    add("ignores-what-follows", test_ignores_what_follows);
    add("cuts-long-output", test_cuts_long_output);
    add("refuses-short-output", test_refuses_short_output);
    add("noise-does-not-fit", test_noise_does_not_fit);
    add("survives-damage", test_survives_damage);
    add("history-leaves-no-trace", test_history_leaves_no_trace);
    g_test_add_func("/codec/deflate/without-end", test_deflate_without_end);
    g_test_add_func("/codec/deflate/narrow-window", test_narrow_window);
    return g_test_run();
}
