#!/usr/bin/env bats
# cairn-img measure gives qemu-img's numbers.
load ../bats/helper

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    command -v qemu-img qemu-io >/dev/null || return 0
    qemu-img create -q -f qcow2 a.qcow2 10M
    qemu-io -c 'write -q 4k 4k' -c 'write -q 1M 100k' -c 'write -q 5000k 64k' -c 'write -q -z 7M 64k' a.qcow2
    qemu-img convert -O raw a.qcow2 a.raw
    qemu-img convert -c -O qcow2 a.raw c.qcow2
    qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2 12M
    qemu-io -c 'write -q 4k 64k' -c 'write -q -z 0 4k' over.qcow2
    qemu-img create -q -f qcow2 -b c.qcow2 -F qcow2 -o cluster_size=4k short.qcow2 5M
    qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
    qemu-img create -q -f qcow2 bits.qcow2 10M
    qemu-img bitmap --add bits.qcow2 one
    qemu-img bitmap --add -g 512 bits.qcow2 another
    truncate -s 12345 odd.raw
    qemu-img create -q -f qcow2 snap.qcow2 10M
    qemu-io -c 'write -q 0 1M' snap.qcow2
    qemu-img snapshot -c one snap.qcow2
    qemu-io -c 'write -q 4M 3M' snap.qcow2
}

# Ours and theirs, in any case with the same exit status.
same() {
    ours=$("$CAIRN_IMG" measure "$@" 2>/dev/null) || ours+=" failed"
    theirs=$("$QEMU_IMG" measure "$@" 2>/dev/null) || theirs+=" failed"
    [ "$ours" = "$theirs" ] || {
        echo "measure $*: $ours, not $theirs"
        return 1
    }
}

@test "empty disks of every size" {
    require qemu-img
    for size in 0 1 12345 64k 100M 10G 1T 2P; do
        for cluster in 512 4k 64k 2M; do
            for more in '' ,refcount_bits=1 ,refcount_bits=64 ,compat=0.10 ,preallocation=full; do
                same -O qcow2 --size $size -o cluster_size=$cluster$more
            done
        done
    done
}

@test "images of every kind" {
    require qemu-img qemu-io
    cd "$BATS_FILE_TMPDIR"
    for image in a.qcow2 a.raw c.qcow2 over.qcow2 short.qcow2 v2.qcow2 bits.qcow2 odd.raw; do
        same -O raw "$image"
        for cluster in 512 64k 2M; do
            same -O qcow2 -o cluster_size=$cluster "$image"
            same --output=json -O qcow2 -o compat=0.10,cluster_size=$cluster "$image"
            same -O qcow2 -o preallocation=falloc,cluster_size=$cluster "$image"
            same -O qcow2 -o backing_file=x,backing_fmt=raw,cluster_size=$cluster "$image"
        done
    done
}

@test "snapshots" {
    require qemu-img qemu-io
    cd "$BATS_FILE_TMPDIR"
    local snapshot
    for snapshot in one 1 snapshot.name=one snapshot.id=1 snapshot.id=1,snapshot.name=one none snapshot.id=one; do
        same -O qcow2 -l $snapshot snap.qcow2
        same --output=json -O raw -l $snapshot snap.qcow2
    done
}
