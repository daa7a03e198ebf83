#!/usr/bin/env bats
# On file systems that can share blocks between files, convert -C shares them.
load ../helper

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    truncate -s 320M xfs.img
    mkdir -p xfs
    PATH=$PATH:/sbin:/usr/sbin
    mkfs.xfs -q -m reflink=1 xfs.img
    mount -o loop xfs.img xfs 2>/dev/null || rmdir xfs
}

teardown_file() {
    cd "$BATS_FILE_TMPDIR"
    [ ! -d xfs ] || umount xfs
}

setup() {
    cd "$BATS_FILE_TMPDIR"
    [ -d xfs ] || skip "mounting an XFS file system needs root and loop devices"
    cd xfs
    rm -f ./*
    head -c 5M /dev/urandom >disk.raw
}

# The bytes of FILE that it shares with another one, in blocks of 4096.
shared_blocks() {
    PATH=$PATH:/sbin:/usr/sbin filefrag -v "$1" |
        awk -F: '/shared/ { gsub(/ /, "", $4); sum += $4 } END { print sum + 0 }'
}

@test "a raw copy shares every block" {
    ok "$CAIRN_IMG" convert -C disk.raw copy.raw
    cmp disk.raw copy.raw
    [ "$(shared_blocks copy.raw)" = 1280 ]
}

@test "a qcow2 image shares the data of a raw one" {
    ok "$CAIRN_IMG" convert -C -O qcow2 disk.raw copy.qcow2
    ok qemu-img compare disk.raw copy.qcow2
    [ "$(shared_blocks copy.qcow2)" = 1280 ]
}

@test "an odd end is copied" {
    printf 'the end' >>disk.raw
    ok "$CAIRN_IMG" convert -C disk.raw copy.raw
    cmp disk.raw copy.raw
    [ "$(shared_blocks copy.raw)" -ge 1200 ]
}

@test "without -C nothing is shared" {
    ok "$CAIRN_IMG" convert disk.raw copy.raw
    [ "$(shared_blocks copy.raw)" = 0 ]
}
