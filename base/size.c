/*
 * Sizes: digits, optionally a fraction, optionally a suffix. All arithmetic is
 * in integers, so that 1.1G means the same bytes on every machine.
 */
#include "base/size.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

#define FRACTION_DIGITS 18 /* further digits of a fraction cannot change a byte */

static const char size_suffixes[] = "BKMGTPE";

/* A number as written: whole + fraction / scale. */
struct size_number {
    uint64_t whole, fraction, scale;
    bool overflow, has_fraction;
};

/* Reads digits in `base` at *text and moves past them; false when there is none. */
static bool read_whole(const char **text, unsigned base, struct size_number *number)
{
    const char *p = *text;
    for (; g_ascii_isxdigit(*p) && (unsigned)g_ascii_xdigit_value(*p) < base; p++) {
        unsigned digit = (unsigned)g_ascii_xdigit_value(*p);
        number->overflow |= __builtin_mul_overflow(number->whole, base, &number->whole) ||
                            __builtin_add_overflow(number->whole, digit, &number->whole);
    }
    bool any = p != *text;
    *text = p;
    return any;
}

/* Reads ".digits" at *text, if it is there; false when the dot stands alone. */
static bool read_fraction(const char **text, struct size_number *number)
{
    number->scale = 1;
    if (**text != '.') {
        return true;
    }
    const char *start = *text + 1, *p = start;
    for (; g_ascii_isdigit(*p); p++) {
        if (p - start < FRACTION_DIGITS) {
            number->fraction = number->fraction * 10 + (uint64_t)(*p - '0');
            number->scale *= 10;
        }
    }
    number->has_fraction = true;
    *text = p;
    return p != start;
}

/* The power of two of a suffix letter, or -1. */
static int suffix_shift(char letter)
{
    const char *p = letter ? strchr(size_suffixes, g_ascii_toupper(letter)) : NULL;
    return p ? 10 * (int)(p - size_suffixes) : -1;
}

static bool number_to_bytes(const struct size_number *number, int shift, int64_t *ret_bytes)
{
    unsigned __int128 scaled = (unsigned __int128)number->fraction << shift;
    unsigned __int128 bytes =
        ((unsigned __int128)number->whole << shift) + (scaled + number->scale / 2) / number->scale;
    if (number->overflow || bytes > INT64_MAX) {
        return false;
    }
    *ret_bytes = (int64_t)bytes;
    return true;
}

bool size_parse(const char *text, const char *what, int64_t *ret_bytes, GError **error)
{
    struct size_number number = {0};
    const char *p = text;
    bool is_hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    p += is_hex ? 2 : 0;
    bool valid = read_whole(&p, is_hex ? 16 : 10, &number);
    number.scale = 1;
    int shift = 0;
    if (valid && !is_hex) {
        valid = read_fraction(&p, &number);
        shift = *p ? suffix_shift(*p++) : 0;
        valid = valid && shift >= 0 && (shift > 0 || !number.has_fraction);
    }
    if (!valid || *p) {
        return error_set(error, EINVAL,
                         "%s: '%s' is not a size; use bytes or a number with k, M, G, T, P or E",
                         what, text);
    }
    if (!number_to_bytes(&number, shift, ret_bytes)) {
        return error_set(error, ERANGE, "%s: '%s' is too large; the limit is 8 EiB minus one byte",
                         what, text);
    }
    return true;
}

char *size_format(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    return g_strdup_printf(value >= 999.5 ? "%.0f %s" : "%.3g %s", value, units[unit]);
}
