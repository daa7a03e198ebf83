#!/usr/bin/env bats
# libblock.so as others use it: installed, found by pkg-config, compiled against, run.
load ../helper

install_library() {
    # The install rules of the build tree would build again what is built; -o keeps to installing.
    make -s -C "$abs_top_builddir" install-libLTLIBRARIES install-includeHEADERS \
        install-pkgconfigDATA DESTDIR="$PWD/root" >install.log 2>&1 || { cat install.log; return 1; }
    pc=$(find root -name libblock.pc)
    export PKG_CONFIG_PATH=$PWD/${pc%/*} PKG_CONFIG_SYSROOT_DIR=$PWD/root
    LD_LIBRARY_PATH=$PWD/root$(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --variable=libdir libblock)
    export LD_LIBRARY_PATH
}

@test "a program compiles against the installed library and copies an image" {
    require pkg-config
    [ -z "$CAIRN_SANITIZERS" ] || [ "$CAIRN_SANITIZERS" = no ] || skip "a sanitized library needs a sanitized program"
    install_library
    # shellcheck disable=SC2046 # several words
    ${CC:-cc} -Wall -Werror -o blk-copy "$abs_top_srcdir/examples/blk-copy.c" \
        $(pkg-config --cflags --libs libblock)
    head -c 3000001 /dev/urandom >a.img
    truncate -s 50M a.img
    ok ./blk-copy a.img raw b.img
    cmp a.img b.img
    [ "$(stat -c %b b.img)" -lt 10000 ]
    ok ./blk-copy a.img qcow2 c.qcow2
    ok ./blk-copy c.qcow2 raw d.img
    cmp a.img d.img
    fails 1 ./blk-copy missing.img raw e.img
    says "missing.img"
    [ ! -e e.img ]
}

@test "the header is C and C++ on its own" {
    for std in c99 c17; do
        ${CC:-cc} -std=$std -Wall -Wextra -Werror -fsyntax-only -x c "$abs_top_srcdir/include/blk.h"
    done
    require g++
    g++ -Wall -Wextra -Werror -fsyntax-only -x c++ "$abs_top_srcdir/include/blk.h"
}

@test "the library exports what the header declares and nothing else" {
    require nm
    nm -D --defined-only "$abs_top_builddir/.libs/libblock.so" |
        awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >exported
    grep -o 'blk_[a-z]*(' "$abs_top_srcdir/include/blk.h" | tr -d '(' | sort -u >declared
    diff declared exported
}
