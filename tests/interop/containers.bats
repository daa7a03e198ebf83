#!/usr/bin/env bats
# The main commands where io_uring is refused, as in containers, and under tight limits.
load ../bats/helper
load images

# round_trip PREFIX...: raw to qcow2 and back through cairn-img started by PREFIX.
round_trip() {
    pattern a.raw
    ok "$@" "$CAIRN_IMG" convert -O qcow2 a.raw a.qcow2
    ok "$@" "$CAIRN_IMG" convert -c -O qcow2 -o compression_type=zstd a.qcow2 b.qcow2
    ok "$@" "$CAIRN_IMG" convert -O raw b.qcow2 b.raw
    cmp a.raw b.raw
    ok "$@" "$CAIRN_IMG" compare a.qcow2 b.raw
}

@test "without io_uring" {
    round_trip "$abs_top_builddir/tests/tools/no-uring"
}

@test "without io_uring, past the page cache" {
    pattern a.raw
    ok "$abs_top_builddir/tests/tools/no-uring" "$CAIRN_IMG" convert -t none -T none -O qcow2 a.raw a.qcow2
    ok "$CAIRN_IMG" compare -f raw -F qcow2 a.raw a.qcow2
}

@test "in 1 GiB of address space" {
    require prlimit
    round_trip prlimit --as=1073741824
}

@test "with 32 open files" {
    require prlimit
    round_trip prlimit --nofile=32
}

@test "where no thread can be made" {
    [ "$(id -u)" = 0 ] || skip "needs root to run as a user that has used up its processes"
    require setpriv prlimit
    chmod 777 .
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 # the leak check needs a thread of its own
    round_trip prlimit --nproc=1 setpriv --reuid=65533 --clear-groups
}
