/*
 * The text for people of `info`. Scripts read it as well, so the wording of the
 * left-hand sides is that of qemu-img.
 */
#include "img-tool/info-text.h"

#include <string.h>

#include "base/size.h"

#define STEP 4 /* blanks a level */

static const char *get_string(const json_t *dict, const char *key)
{
    return json_string_value(json_object_get(dict, key));
}

static int64_t get_integer(const json_t *dict, const char *key, int64_t absent)
{
    json_t *value = json_object_get(dict, key);
    return value ? json_integer_value(value) : absent;
}

static void print_line(GString *out, int indent, const char *label, const char *value)
{
    g_string_append_printf(out, "%*s%s: %s\n", indent, "", label, value);
}

static void print_value(GString *out, int indent, const char *label, const json_t *value);

/* Members as "label: value" lines, dashes in labels as blanks. */
static void print_members(GString *out, int indent, const json_t *dict)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)dict, key, value)
    {
        g_autofree char *label = g_strdelimit(g_strdup(key), "-", ' ');
        print_value(out, indent, label, value);
    }
}

static void print_items(GString *out, int indent, const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        char label[24];
        g_snprintf(label, sizeof(label), "[%zu]", i);
        print_value(out, indent, label, json_array_get(array, i));
    }
}

static void print_value(GString *out, int indent, const char *label, const json_t *value)
{
    if (json_is_object(value) || json_is_array(value)) {
        g_string_append_printf(out, "%*s%s:\n", indent, "", label);
        json_is_object(value) ? print_members(out, indent + STEP, value)
                              : print_items(out, indent + STEP, value);
        return;
    }
    if (json_is_string(value)) {
        print_line(out, indent, label, json_string_value(value));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        print_line(out, indent, label, text);
        free(text);
    }
}

static void print_sizes(GString *out, int indent, const json_t *info, const char *size_label)
{
    int64_t size = get_integer(info, "virtual-size", 0);
    int64_t actual = get_integer(info, "actual-size", -1);
    g_autofree char *size_text = size_format(size);
    g_autofree char *actual_text = actual < 0 ? g_strdup("unavailable") : size_format(actual);
    g_string_append_printf(out, "%*s%s: %s (%" G_GINT64_FORMAT " bytes)\n", indent, "", size_label,
                           size_text, size);
    print_line(out, indent, "disk size", actual_text);
}

static void print_backing(GString *out, int indent, const json_t *info)
{
    const char *name = get_string(info, "backing-filename");
    const char *full = get_string(info, "full-backing-filename");
    const char *format = get_string(info, "backing-filename-format");
    if (!name) {
        return;
    }
    g_string_append_printf(out, "%*sbacking file: %s", indent, "", name);
    if (!full) {
        g_string_append(out, " (cannot determine actual path)");
    } else if (strcmp(name, full)) {
        g_string_append_printf(out, " (actual path: %s)", full);
    }
    g_string_append_c(out, '\n');
    if (format) {
        print_line(out, indent, "backing file format", format);
    }
}

void info_print_snapshots(const json_t *snapshots, int indent, GString *out)
{
    if (!json_array_size(snapshots)) {
        return;
    }
    g_string_append_printf(out, "%*sSnapshot list:\n%*s%-7s %-16s %8s %19s %15s %10s\n", indent, "",
                           indent, "", "ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
    for (size_t i = 0; i < json_array_size(snapshots); i++) {
        const json_t *item = json_array_get(snapshots, i);
        g_autofree char *size = size_format(get_integer(item, "vm-state-size", 0));
        g_autoptr(GDateTime) date =
            g_date_time_new_from_unix_local(get_integer(item, "date-sec", 0));
        g_autofree char *when =
            date ? g_date_time_format(date, "%Y-%m-%d %H:%M:%S") : g_strdup("-");
        int64_t seconds = get_integer(item, "vm-clock-sec", 0);
        g_autofree char *clock = g_strdup_printf(
            "%04d:%02d:%02d.%03d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
            (int)(seconds % 60), (int)(get_integer(item, "vm-clock-nsec", 0) / 1000000));
        const char *id = get_string(item, "id"), *name = get_string(item, "name");
        g_autofree char *icount =
            json_object_get(item, "icount")
                ? g_strdup_printf("%" G_GINT64_FORMAT, get_integer(item, "icount", 0))
                : g_strdup("--");
        g_string_append_printf(out, "%*s%-7s %-16s %8s %19s %15s %10s\n", indent, "", id ? id : "",
                               name ? name : "", size, when, clock, icount);
    }
}

static void print_limits(GString *out, int indent, const json_t *limits)
{
    if (limits) {
        g_string_append_printf(out, "%*sBlock limits:\n", indent, "");
        print_members(out, indent + STEP, limits);
    }
}

static void print_specific(GString *out, int indent, const json_t *specific)
{
    const json_t *data = json_object_get(specific, "data");
    if (json_object_size(data)) {
        g_string_append_printf(out, "%*sFormat specific information:\n", indent, "");
        print_members(out, indent + STEP, data);
    }
}

/* The children, which are files or other protocols. */
static void print_children(GString *out, int indent, const json_t *info, const char *path)
{
    const json_t *children = json_object_get(info, "children");
    for (size_t i = 0; i < json_array_size(children); i++) {
        const json_t *child = json_array_get(children, i);
        const json_t *of = json_object_get(child, "info");
        g_autofree char *child_path = g_strdup_printf("%s/%s", path, get_string(child, "name"));
        g_string_append_printf(out, "%*sChild node '%s':\n", indent, "", child_path);
        print_line(out, indent + STEP, "filename", get_string(of, "filename"));
        print_line(out, indent + STEP, "protocol type", get_string(of, "format"));
        print_sizes(out, indent + STEP, of, "file length");
        print_limits(out, indent + STEP, json_object_get(of, "limits"));
        print_specific(out, indent + STEP, json_object_get(of, "format-specific"));
        print_children(out, indent + STEP, of, child_path);
    }
}

void info_print_text(const json_t *info, GString *out)
{
    print_line(out, 0, "image", get_string(info, "filename"));
    print_line(out, 0, "file format", get_string(info, "format"));
    print_sizes(out, 0, info, "virtual size");
    if (json_is_true(json_object_get(info, "encrypted"))) {
        print_line(out, 0, "encrypted", "yes");
    }
    if (json_object_get(info, "cluster-size")) {
        g_string_append_printf(out, "cluster_size: %" G_GINT64_FORMAT "\n",
                               get_integer(info, "cluster-size", 0));
    }
    if (json_is_true(json_object_get(info, "dirty-flag"))) {
        print_line(out, 0, "cleanly shut down", "no");
    }
    print_backing(out, 0, info);
    info_print_snapshots(json_object_get(info, "snapshots"), 0, out);
    print_limits(out, 0, json_object_get(info, "limits"));
    print_specific(out, 0, json_object_get(info, "format-specific"));
    print_children(out, 0, info, "");
}

void info_print_specific(const json_t *specific, GString *out)
{
    print_specific(out, 0, specific);
}
