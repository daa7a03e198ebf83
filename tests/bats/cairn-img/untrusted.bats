#!/usr/bin/env bats
# --untrusted confines the process; what it is there for works all the same. What it stops is tested
# from the inside, by tests/unit/test-img-tool-confine.c.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR"
    head -c 3M /dev/urandom >disk.raw
    ok "$CAIRN_IMG" convert -O qcow2 -c disk.raw disk.qcow2
}

@test "reading commands print what they print without it" {
    for command in info map "info --output=json" "map --output=json" "compare disk.raw" "measure -O qcow2"; do
        "$CAIRN_IMG" $command disk.qcow2 >plain
        "$CAIRN_IMG" $command --untrusted disk.qcow2 >fenced
        cmp plain fenced
    done
}

@test "convert makes the same image, and leaves nothing beside it" {
    mkdir out
    ok "$CAIRN_IMG" convert --untrusted -O qcow2 -c disk.raw out/new.qcow2
    cmp disk.qcow2 out/new.qcow2
    ok "$CAIRN_IMG" convert --untrusted -O raw disk.qcow2 out/new.raw
    cmp disk.raw out/new.raw
    [ "$(ls -A out | wc -l)" = 2 ]
}

@test "convert -n writes into the image that is there" {
    truncate -s 3M there.raw
    ok "$CAIRN_IMG" convert --untrusted -n -O raw disk.qcow2 there.raw
    cmp disk.raw there.raw
}

@test "option lists open what they name" {
    ok "$CAIRN_IMG" info --untrusted --image-opts driver=qcow2,file.filename=disk.qcow2
    says "virtual size: 3 MiB"
}

@test "the fences stand before the first byte of the image is read" {
    [ -z "$CAIRN_SANITIZERS" ] || [ "$CAIRN_SANITIZERS" = no ] || skip "a sanitized program is not confined"
    strace -f -y -o trace "$CAIRN_IMG" info --untrusted disk.qcow2 >/dev/null || skip "strace cannot trace here"
    read_at=$(grep -n 'read.*/disk.qcow2>' trace | head -n 1 | cut -d: -f1)
    fenced_at=$(grep -n 'seccomp(SECCOMP_SET_MODE_FILTER' trace | tail -n 1 | cut -d: -f1)
    [ -n "$read_at" ]
    [ -n "$fenced_at" ]
    [ "$fenced_at" -lt "$read_at" ]
}
