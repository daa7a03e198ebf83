#include "base/cli.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

struct args {
    bool progress, quiet;
    char *format, *backing;
    GPtrArray *options;
    int64_t sparse;
    int output, color;
};

static const char *const output_names[] = {"human", "json", NULL};

static const struct cli_option options[] = {
    {"f", "FMT", FIELD(struct args, format, "format", "raw", "format of the image"), NULL},
    {"bB", "FILE", FIELD(struct args, backing, "backing", NULL, "backing file"), NULL},
    {NULL, "FILE", FIELD(struct args, backing, "old-backing", NULL, NULL), NULL},
    {"o", "OPTIONS", FIELD(struct args, options, "options", NULL, "options of the format"), NULL},
    {"S", "SIZE", FIELD_SIZE(struct args, sparse, "sparse-size", "4k", "zeroes that become a hole"),
     NULL},
    {NULL, "WORD",
     FIELD_ENUM(struct args, output, "output", "human", output_names, "what to print"), NULL},
    {"p", NULL, FIELD(struct args, progress, "progress", NULL, "show progress"), NULL},
    {"q", NULL, FIELD(struct args, quiet, "quiet", NULL, "print errors only"), NULL},
    {"C", "WORD", FIELD_ENUM(struct args, color, "color", NULL, output_names, "paint"), "json"},
    {0}};

static const char *const notes[] = {"It copies. Names in 'quotes' stay.", NULL};
static const struct cli_example examples[] = {{"Copy", "prog copy a b", "touch a"}, {0}};

static const struct cli_command command = {
    .name = "copy",
    .summary = "copy an image",
    .positional = "SOURCE... TARGET",
    .min_positional = 2,
    .max_positional = -1,
    .options = options,
    .args_size = sizeof(struct args),
    .notes = notes,
    .examples = examples,
};

/* Parses the words of `line`; the caller clears *args and frees *ret_names. */
static enum cli_outcome parse(const char *line, struct args *args, char ***ret_names,
                              GError **error)
{
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    memset(args, 0, sizeof(*args));
    return cli_parse(&command, (int)g_strv_length(argv), argv, args, ret_names, error);
}

static void test_mixed_order(void)
{
    struct args args;
    g_auto(GStrv) names = NULL;
    g_assert_cmpint(parse("copy a -pq b --format=qcow2 -S 64k", &args, &names, NULL), ==, CLI_RUN);
    g_assert_cmpstr(names[0], ==, "a");
    g_assert_cmpstr(names[1], ==, "b");
    g_assert_null(names[2]);
    g_assert_true(args.progress && args.quiet);
    g_assert_cmpstr(args.format, ==, "qcow2");
    g_assert_cmpint(args.sparse, ==, 65536);
    cli_clear(&command, &args);
    g_assert_null(args.format);
}

static void test_spellings(void)
{
    static const char *const lines[] = {"copy a b -b x",
                                        "copy a b -Bx",
                                        "copy -pbx a b",
                                        "copy a b --backing x",
                                        "copy a b --old-backing=x",
                                        "copy a b --back x",
                                        "copy -b y -B x a b"};
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        struct args args;
        g_auto(GStrv) names = NULL;
        g_assert_cmpint(parse(lines[i], &args, &names, NULL), ==, CLI_RUN);
        g_assert_cmpstr(args.backing, ==, "x");
        g_assert_cmpint(g_strv_length(names), ==, 2);
        cli_clear(&command, &args);
    }
}

static void test_last_wins_and_lists(void)
{
    struct args args;
    g_auto(GStrv) names = NULL;
    const char *line = "copy -o a=1 -f x --output json a -o b=2 -f y - -- -p";
    g_assert_cmpint(parse(line, &args, &names, NULL), ==, CLI_RUN);
    g_assert_cmpstr(args.format, ==, "y");
    g_assert_cmpint(args.output, ==, 1);
    g_assert_cmpint(args.options->len, ==, 2);
    g_assert_cmpstr(args.options->pdata[1], ==, "b=2");
    g_assert_cmpstr(names[1], ==, "-");
    g_assert_cmpstr(names[2], ==, "-p");
    g_assert_false(args.progress);
    cli_clear(&command, &args);
}

static void test_optional_value(void)
{
    static const struct {
        const char *line;
        int want;
    } rows[] = {{"copy a b", 0},
                {"copy a -C b", 1},
                {"copy --color a b", 1},
                {"copy a b --color=human", 0},
                {"copy -pC a b", 1}};
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct args args;
        g_auto(GStrv) names = NULL;
        g_assert_cmpint(parse(rows[i].line, &args, &names, NULL), ==, CLI_RUN);
        g_assert_cmpint(args.color, ==, rows[i].want);
        g_assert_cmpint(g_strv_length(names), ==, 2);
        cli_clear(&command, &args);
    }
}

static void test_help_wins(void)
{
    struct args args;
    char **names = NULL;
    g_assert_cmpint(parse("copy --help", &args, &names, NULL), ==, CLI_HELP);
    cli_clear(&command, &args);
    g_assert_cmpint(parse("copy -ph", &args, &names, NULL), ==, CLI_HELP);
    cli_clear(&command, &args);
    g_assert_null(names);
}

static void test_errors(void)
{
    static const struct {
        const char *line, *message;
    } rows[] = {
        {"copy a b --formt=x", "unknown option '--formt'; did you mean '--format'?"},
        {"copy a b --jobs", "unknown option '--jobs'"},
        {"copy a b --o x", "option '--o' is ambiguous: '--old-backing' or '--options'"},
        {"copy a b -Z", "unknown option '-Z'"},
        {"copy a b -f", "option '-f' wants a value"},
        {"copy a b --format", "option '--format' wants a value"},
        {"copy a b --quiet=no", "option '--quiet' takes no value, not even 'no'"},
        {"copy a b --output=jsn",
         "option '--output' wants one of human, json, not 'jsn'; did you mean 'json'?"},
        {"copy", "copy wants SOURCE... TARGET, and got no name"},
        {"copy a", "copy wants SOURCE... TARGET, and got fewer names"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct args args;
        char **names = NULL;
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(parse(rows[i].line, &args, &names, &error), ==, CLI_ERROR);
        g_assert_cmpstr(error->message, ==, rows[i].message);
        g_assert_null(names);
        cli_clear(&command, &args);
    }
}

static void test_too_many(void)
{
    struct cli_command two = command;
    two.max_positional = 2;
    struct args args = {0};
    char **names = NULL;
    char *argv[] = {"copy", "a", "b", "c"};
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(cli_parse(&two, 4, argv, &args, &names, &error), ==, CLI_ERROR);
    g_assert_cmpstr(error->message, ==, "unexpected argument 'c'; copy wants SOURCE... TARGET");
    cli_clear(&two, &args);
}

static void assert_has(const GString *text, const char *part)
{
    if (!strstr(text->str, part)) {
        g_error("'%s' is not in:\n%s", part, text->str);
    }
}

static void test_usage_and_help(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    cli_print_usage("prog", &command, out);
    g_assert_cmpstr(out->str, ==,
                    "prog copy [-f FMT] [-b FILE] [-o OPTIONS] [-S SIZE] [--output human|json] "
                    "[-p] [-q] [-C] SOURCE... TARGET\n");
    g_string_truncate(out, 0);
    cli_print_help("prog", &command, out);
    assert_has(out, "Copy an image.");
    assert_has(out, "  -f, --format FMT           format of the image (default: raw)\n");
    assert_has(out, "      --output human|json    what to print (default: human)\n");
    assert_has(out, "    prog copy a b\n");
    g_assert_null(strstr(out->str, "old-backing"));
}

static void test_man(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    cli_print_man("prog", "prog 1", &command, out);
    assert_has(out, ".Dt PROG-COPY 1\n");
    assert_has(out, ".Op Fl f Ar \"\\&FMT\"\n");
    assert_has(out, "Names in \\(aqquotes\\(aq stay.\n");
    g_assert_null(strstr(out->str, "old"));
    const struct cli_command *list[] = {&command, NULL};
    g_string_truncate(out, 0);
    cli_print_man_index("prog", "prog 1", "a tool", notes, list, out);
    assert_has(out, ".It Cm copy\nCopy an image.\n");
}

static void test_completion(void)
{
    const struct cli_command *list[] = {&command, NULL};
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < G_N_ELEMENTS(shells); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        g_assert_true(cli_print_completion("prog", list, shells[i], out, NULL));
        assert_has(out, "human json");
        g_assert_null(strstr(out->str, "old-backing"));
    }
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    g_assert_false(cli_print_completion("prog", list, "csh", out, &error));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/mixed-order", test_mixed_order);
    g_test_add_func("/cli/spellings", test_spellings);
    g_test_add_func("/cli/last-wins-and-lists", test_last_wins_and_lists);
    g_test_add_func("/cli/optional-value", test_optional_value);
    g_test_add_func("/cli/help-wins", test_help_wins);
    g_test_add_func("/cli/errors", test_errors);
    g_test_add_func("/cli/too-many", test_too_many);
    g_test_add_func("/cli/usage-and-help", test_usage_and_help);
    g_test_add_func("/cli/man", test_man);
    g_test_add_func("/cli/completion", test_completion);
    return g_test_run();
}
