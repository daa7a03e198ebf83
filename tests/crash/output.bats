#!/usr/bin/env bats
# A command that fails leaves no half-made output, keeps what was there, and touches no source.
load ../bats/helper
load ../interop/images

# broken FILE: a qcow2 image with compressed clusters that cannot be unpacked.
broken() {
    pattern source.raw
    "$QEMU_IMG" convert -c -O qcow2 source.raw "$1"
    printf '\xff%.0s' {1..4096} | dd of="$1" bs=1 seek=$((327680 + 200)) conv=notrunc status=none
}

only() {
    [ "$(ls | sort | tr '\n' ' ')" = "$* " ] || { ls; return 1; }
}

@test "a source that cannot be read: no output" {
    require qemu-img
    broken a.qcow2
    for format in raw qcow2; do
        run "$CAIRN_IMG" convert -O $format a.qcow2 out
        [ "$status" = 1 ]
        says a.qcow2
        only a.qcow2 source.raw
    done
}

@test "a source that cannot be read: an old target stays" {
    require qemu-img
    broken a.qcow2
    echo precious >out
    run "$CAIRN_IMG" convert -O raw a.qcow2 out
    [ "$status" = 1 ]
    grep -q precious out
    only a.qcow2 out source.raw
}

@test "a failed create leaves an old image as it was" {
    require qemu-img
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 1M
    cp a.qcow2 before
    fails 1 "$CAIRN_IMG" create -f qcow2 -o cluster_size=3 a.qcow2 2M
    fails 1 "$CAIRN_IMG" create -f qcow2 -b missing -F raw a.qcow2
    cmp a.qcow2 before
    only a.qcow2 before
}

require_mounts() {
    unshare -rm true 2>/dev/null || skip "needs leave to mount in a user namespace"
}

# in_tmpfs SIZE COMMAND: runs the shell command in a file system of that size.
in_tmpfs() {
    mkdir -p small
    unshare -rm bash -c "mount -t tmpfs -o size=$1 none small && cd small && $2"
}

@test "disk full while converting: one error that names the target, no output" {
    require_mounts
    head -c 8M /dev/urandom >a.raw
    sum=$(sha256sum <a.raw)
    for format in raw qcow2; do
        run in_tmpfs 4M "'$CAIRN_IMG' convert -O $format ../a.raw out; s=\$?; ls -A; exit \$s"
        [ "$status" = 1 ]
        says "No space left on device"
        says out
        [ "$(tail -1 <<<"$output")" != out ]
    done
    [ "$(sha256sum <a.raw)" = "$sum" ]
}

@test "disk full while creating" {
    require_mounts
    for options in '-f qcow2 -o preallocation=full' '-f qcow2 -o preallocation=falloc' '-f raw -o preallocation=full'; do
        run in_tmpfs 4M "'$CAIRN_IMG' create -q $options out 8M; s=\$?; ls -A; exit \$s"
        [ "$status" = 1 ]
        says "No space left on device"
        [ "$(tail -1 <<<"$output")" != out ]
    done
}

@test "disk full: an old target stays" {
    require_mounts
    head -c 8M /dev/urandom >a.raw
    run in_tmpfs 4M "echo precious >out; '$CAIRN_IMG' convert -O raw ../a.raw out; s=\$?; tr -cd a-z <out; exit \$s"
    [ "$status" = 1 ]
    says precious
}

@test "a folder that cannot be written: one error" {
    truncate -s 1M a.raw
    fails 1 "$CAIRN_IMG" convert -O qcow2 a.raw missing-folder/out
    says missing-folder
}

@test "a symbolic link keeps pointing; its target is replaced whole" {
    pattern a.raw
    echo old >real
    ln -s real link
    ok "$CAIRN_IMG" convert -O raw a.raw link
    [ -L link ]
    cmp a.raw real
}
