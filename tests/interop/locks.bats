#!/usr/bin/env bats
# cairn-img and QEMU's tools keep each other off an image that one of them writes.
load ../bats/helper
load images

# Opens a.qcow2 for writing in the background with the program given; release() ends it.
hold() {
    mkfifo release.fifo
    "$@" <release.fifo >held.out 2>held.err &
    holder=$!
    exec 9>release.fifo
}

release() {
    exec 9>&-
    wait "$holder"
}

# until_locked FILE: waits until somebody holds a lock on the file, as /proc/locks says.
until_locked() {
    local inode
    inode=$(stat -c %i "$1")
    timeout 20 bash -c "until grep -q ':$inode ' /proc/locks; do :; done"
}

holding_qemu_io() {
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 1M
    hold "$QEMU_IO" -f qcow2 a.qcow2
    until_locked a.qcow2
}

@test "while qemu-io writes, we refuse to read and say who it is" {
    require qemu-img qemu-io
    holding_qemu_io
    run "$CAIRN_IMG" convert -O raw a.qcow2 out.raw
    release
    [ "$status" = 1 ]
    says 'Failed to get shared "write" lock'
    says "Is another process using the image"
    says "$holder"
    [ ! -e out.raw ]
}

@test "while qemu-io writes, -U reads" {
    require qemu-img qemu-io
    holding_qemu_io
    run "$CAIRN_IMG" info -U a.qcow2
    release
    [ "$status" = 0 ]
}

@test "while qemu-io writes, we refuse to write" {
    require qemu-img qemu-io
    holding_qemu_io
    cp a.qcow2 before
    truncate -s 1M b.raw
    for command in 'create -f qcow2 a.qcow2 2M' 'convert -O qcow2 b.raw a.qcow2' 'convert -n -O qcow2 b.raw a.qcow2'; do
        run "$CAIRN_IMG" $command
        [ "$status" = 1 ] && cmp a.qcow2 before || { echo "$command: $status $output"; release; return 1; }
    done
    release
}

@test "while we write, qemu-img and qemu-io refuse" {
    require qemu-img qemu-io
    ok "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
    hold "$BLK_IO" qcow2 a.qcow2 'write 1 0 64k' hold
    timeout 20 bash -c 'until grep -q holding held.out; do :; done'
    run "$QEMU_IMG" info a.qcow2
    local read=$status
    run "$QEMU_IO" -f qcow2 -c 'write 0 512' a.qcow2
    local write=$status
    release
    [ "$read" = 1 ] && [ "$write" = 1 ]
}

@test "two readers get along" {
    require qemu-img qemu-io
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 1M
    hold "$QEMU_IO" -r -f qcow2 a.qcow2
    until_locked a.qcow2
    run "$CAIRN_IMG" convert -O raw a.qcow2 out.raw
    release
    [ "$status" = 0 ]
}

@test "locks end with the process" {
    ok "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
    hold "$BLK_IO" qcow2 a.qcow2 hold
    timeout 20 bash -c 'until grep -q holding held.out; do :; done'
    kill -9 "$holder"
    wait "$holder" || true
    exec 9>&-
    ok "$CAIRN_IMG" info a.qcow2
}
