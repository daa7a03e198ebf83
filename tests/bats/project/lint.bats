#!/usr/bin/env bats
# The small lints hold for the tree, and each catches a planted violation.
load ../helper

plant() {
    mkdir -p docs base libblock qcow2
    cp "$abs_top_srcdir/docs/layers.txt" docs
    cat >"$1"
}

@test "the tree keeps to its layers" {
    "$abs_top_srcdir/tools/layer-check"
}

@test "layer-check refuses an include from a layer above" {
    plant libblock/a.c <<<'#include "qcow2/qcow2.h"'
    fails 1 "$abs_top_srcdir/tools/layer-check" .
    says "libblock/a.c:1: libblock must not know qcow2"
}

@test "layer-check refuses an include past the door" {
    plant qcow2/a.c <<<'#include "libblock/request.h"'
    fails 1 "$abs_top_srcdir/tools/layer-check" .
    says "libblock/request.h is inside libblock"
}

@test "layer-check takes the doors" {
    plant qcow2/a.c <<'END'
#include "base/span.h"
#include "libblock/libblock.h"
#include "libblock/driver.h"
#include "libblock/jobs/convert.h"
END
    "$abs_top_srcdir/tools/layer-check" .
}

@test "layer-check refuses a header without its folder" {
    plant base/a.c <<<'#include "size.h"'
    fails 1 "$abs_top_srcdir/tools/layer-check" .
    says '"base/size.h"'
}

@test "functions that may yield say so" {
    "$abs_top_srcdir/tools/lint-co"
}

@test "lint-co finds a call that may yield" {
    plant base/a.c <<'END'
static int plain(void)
{
    return node_co_read(node) + node->driver->co_read(node);
}
END
    fails 1 "$abs_top_srcdir/tools/lint-co" .
    says "base/a.c:3: plain() calls node_co_read()"
    says "base/a.c:3: plain() calls ->co_read()"
}

@test "lint-co lets yielding functions call, and anyone name one" {
    plant base/a.c <<'END'
static int x_co_read(void)
{
    return node_co_read(node); /* node_co_write() */
}
static void start(void)
{
    loop_call(loop, x_co_read, "node_co_read()");
}
END
    "$abs_top_srcdir/tools/lint-co" .
}

@test "a folder's README is a page of at most 30 lines" {
    cd "$abs_top_srcdir"
    for readme in */README.md */*/README.md; do
        [ "$(wc -l <"$readme")" -le 30 ] || { echo "$readme has $(wc -l <"$readme") lines" && return 1; }
    done
}
