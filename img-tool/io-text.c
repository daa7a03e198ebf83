/*
 * Numbers in, lines out. Test suites compare these lines, so their wording is
 * that of qemu-io, to the blank.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/size.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

#define NS_PER_S 1000000000.0

/* Three digits after the point, none where they are zero; plain bytes have six. */
char *io_quantity(double bytes)
{
    static const char *const units[] = {" bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    int unit = 0;
    double value = bytes;
    for (; value >= 1024 && unit < 6; unit++) {
        value /= 1024;
    }
    g_autofree char *text = g_strdup_printf(unit ? "%.3f" : "%f", value);
    char *zeroes = strstr(text, ".000");
    if (zeroes) {
        *zeroes = 0;
    }
    return g_strconcat(text, units[unit], NULL);
}

bool io_number(const char *text, int64_t *ret_bytes)
{
    g_autoptr(GError) error = NULL;
    bool fraction = text[0] == '.' && g_ascii_isdigit(text[1]);
    g_autofree char *whole = g_strconcat(fraction ? "0" : "", text, NULL);
    bool negative = text[0] == '-' && g_ascii_isdigit(text[1]);
    if (!negative && size_parse(whole, "argument", ret_bytes, &error)) {
        return true;
    }
    tool_printf("Parsing error: %s -- %s\n",
                negative || error->code == ERANGE
                    ? "argument too large"
                    : "non-numeric argument, or extraneous/unrecognized suffix",
                text);
    return false;
}

bool io_length(const char *text, int64_t limit, const char *unless, int64_t *ret_bytes)
{
    if (!io_number(text, ret_bytes)) {
        return false;
    }
    if (*ret_bytes > limit) {
        tool_printf("length cannot exceed %" PRId64 "%s, given %s\n", limit, unless, text);
        return false;
    }
    return true;
}

bool io_pattern(const char *text, int *ret_byte)
{
    char *end;
    long value = strtol(text, &end, 0);
    if (end == text || *end || value < 0 || value > 0xff) {
        tool_printf("%s is not a valid pattern byte\n", text);
        return false;
    }
    *ret_byte = (int)value;
    return true;
}

/* "00.25 sec", "02:10.25", "1:02:10.25"; `full`: the last form always. */
static char *time_text(int64_t ns, bool full)
{
    int64_t hundredths = ns / 10000000;
    int frac = (int)(hundredths % 100), seconds = (int)(hundredths / 100 % 60);
    int minutes = (int)(hundredths / 6000 % 60), hours = (int)(hundredths / 360000);
    if (full || hours) {
        return g_strdup_printf("%d:%02d:%02d.%02d", hours, minutes, seconds, frac);
    }
    return minutes ? g_strdup_printf("%02d:%02d.%02d", minutes, seconds, frac)
                   : g_strdup_printf("%02d.%02d sec", seconds, frac);
}

void io_report_print(const struct io_report *r)
{
    int64_t ns = max_i64(g_get_monotonic_time() * 1000 - r->start_ns, 1000);
    double per_second = NS_PER_S / (double)ns;
    if (r->quiet) {
        return;
    }
    g_autofree char *time = time_text(ns, r->terse);
    if (r->terse) {
        tool_printf("%" PRId64 ",1,%s,%.3f,%.3f\n", r->length, time, (double)r->length * per_second,
                    per_second);
        return;
    }
    g_autofree char *amount = io_quantity((double)r->length);
    g_autofree char *rate = io_quantity((double)r->length * per_second);
    tool_printf("%s %" PRId64 "/%" PRId64 " bytes at offset %" PRId64 "\n", r->done, r->length,
                r->length, r->offset);
    tool_printf("%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", amount, time, rate, per_second);
}

void io_dump(const uint8_t *buf, int64_t length, int64_t offset)
{
    for (int64_t at = 0; at < length; at += 16) {
        int64_t n = min_i64(16, length - at);
        tool_printf("%08" PRIx64 ":  ", (uint64_t)(offset + at));
        for (int64_t i = 0; i < n; i++) {
            tool_printf("%02x ", buf[at + i]);
        }
        tool_printf(" ");
        for (int64_t i = 0; i < n; i++) {
            tool_printf("%c", g_ascii_isprint((char)buf[at + i]) && buf[at + i] != ' ' ? buf[at + i]
                                                                                       : '.');
        }
        tool_printf("\n");
    }
}

bool io_verify(const uint8_t *buf, int64_t length, int byte, int64_t offset)
{
    bool same = !length || (buf[0] == byte && !memcmp(buf, buf + 1, (size_t)length - 1));
    if (!same) {
        tool_printf("Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
                    offset, length);
    }
    return same;
}

void io_complain(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fflush(stdout);
    fprintf(stderr, "%s: ", tool_program());
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}
