#!/usr/bin/env bats
# Snapshots of either tool, used by the other; all that follows is read back and checked.
load ../bats/helper
load images

# Lists under which a second reference can be counted, without preallocation "full".
snapshot_option_lists() {
    option_lists | grep -vE 'refcount_bits=1$|preallocation=(full|falloc)'
}

# raw IMAGE OUT: what the guest sees, as qemu-img reads it.
raw() {
    ok "$QEMU_IMG" convert -f qcow2 -O raw "$1" "$2"
}

# snapshot_is IMAGE NAME RAW: both tools find this in the snapshot.
snapshot_is() {
    ok "$QEMU_IMG" convert -f qcow2 -O raw -l "snapshot.name=$2" "$1" .view
    cmp .view "$3"
}

# history SNAPSHOTTER APPLIER OPTIONS: one makes the snapshots and one goes back to them; both write.
history() {
    local a=$1 b=$2
    ok "$CAIRN_IMG" create -q -f qcow2 -o "$3" a.qcow2 3M
    ok "$QEMU_IO" -f qcow2 -c 'write -q -P 1 0 700k' -c 'write -q -P 2 2M 100k' a.qcow2
    raw a.qcow2 one.raw
    ok "$a" snapshot -c one a.qcow2
    clean a.qcow2
    ok "$BLK_IO" qcow2 a.qcow2 'write 3 100k 300k' 'zero 2M 64k' 'discard 0 64k' 'write 4 2900k 100k'
    clean a.qcow2
    raw a.qcow2 two.raw
    ok "$a" snapshot -c two a.qcow2
    ok "$QEMU_IO" -f qcow2 -c 'write -q -P 5 0 2M' -c 'write -q -z 2M 512k' a.qcow2
    clean a.qcow2
    snapshot_is a.qcow2 one one.raw
    snapshot_is a.qcow2 two two.raw
    ok "$b" snapshot -a one a.qcow2
    clean a.qcow2
    raw a.qcow2 now.raw && cmp now.raw one.raw
    ok "$BLK_IO" qcow2 a.qcow2 'write 6 1M 200k'
    ok "$b" snapshot -d one a.qcow2
    clean a.qcow2
    snapshot_is a.qcow2 two two.raw
    ok "$b" snapshot -a two a.qcow2
    ok "$b" snapshot -d two a.qcow2
    clean a.qcow2
    raw a.qcow2 now.raw && cmp now.raw two.raw
}

@test "qemu-img goes back to our snapshots" {
    require qemu-img qemu-io
    while read -r options; do
        history "$CAIRN_IMG" "$QEMU_IMG" "$options" || { echo "with $options"; return 1; }
    done < <(snapshot_option_lists)
}

@test "we go back to the snapshots of qemu-img" {
    require qemu-img qemu-io
    while read -r options; do
        history "$QEMU_IMG" "$CAIRN_IMG" "$options" || { echo "with $options"; return 1; }
    done < <(snapshot_option_lists)
}

@test "compressed clusters are shared by snapshots, and freed with the last" {
    require qemu-img qemu-io
    pattern a.raw
    for type in zlib zstd; do
        ok "$QEMU_IMG" convert -c -O qcow2 -o cluster_size=4k,compression_type=$type a.raw a.qcow2
        ok "$CAIRN_IMG" snapshot -c one a.qcow2
        clean a.qcow2
        ok "$BLK_IO" qcow2 a.qcow2 'write 9 100k 1M'
        clean a.qcow2
        snapshot_is a.qcow2 one a.raw
        ok "$QEMU_IMG" snapshot -c two a.qcow2
        ok "$CAIRN_IMG" snapshot -a one a.qcow2
        same raw a.raw qcow2 a.qcow2
        ok "$CAIRN_IMG" snapshot -d one a.qcow2
        ok "$CAIRN_IMG" snapshot -d two a.qcow2
        clean a.qcow2
        same raw a.raw qcow2 a.qcow2
    done
}

@test "both list the same" {
    require qemu-img
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 3M
    ok "$QEMU_IMG" snapshot -c "theirs, with blanks" a.qcow2
    ok "$CAIRN_IMG" snapshot -c ours a.qcow2
    ok "$CAIRN_IMG" snapshot -c 'a name that is longer than its column, ünïcode' a.qcow2
    ok "$QEMU_IMG" snapshot -l a.qcow2
    expected=$(sed -E 's/VM SIZE/VM_SIZE/; s/VM CLOCK/VM_CLOCK/; s/ 00:00:00/ 0000:00:00/; s/ +/ /g' <<<"$output")
    ok "$CAIRN_IMG" snapshot -l a.qcow2
    [ "$(sed -E 's/ +/ /g' <<<"$output")" = "$expected" ]
}

@test "snapshots of another size put the disk back to theirs" {
    require qemu-img qemu-io
    ok "$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k a.qcow2 3M
    ok "$QEMU_IO" -f qcow2 -c 'write -q -P 1 0 3M' a.qcow2
    raw a.qcow2 small.raw
    ok "$CAIRN_IMG" snapshot -c small a.qcow2
    ok "$QEMU_IMG" resize -q -f qcow2 a.qcow2 9M
    ok "$QEMU_IO" -f qcow2 -c 'write -q -P 2 5M 2M' a.qcow2
    raw a.qcow2 large.raw
    ok "$CAIRN_IMG" snapshot -c large a.qcow2
    for name in small large small; do
        ok "$CAIRN_IMG" snapshot -a $name a.qcow2
        clean a.qcow2
        raw a.qcow2 now.raw && cmp now.raw $name.raw
    done
}

@test "VM state of qemu-io stays with the snapshot, and comes back" {
    require qemu-img qemu-io
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 1M
    ok "$QEMU_IO" -f qcow2 -c 'write -q -P 1 0 1M' -c 'write -q -b -P 7 0 300k' a.qcow2
    ok "$CAIRN_IMG" snapshot -c one a.qcow2
    clean a.qcow2
    run "$QEMU_IO" -f qcow2 -c 'read -b -P 0 0 300k' a.qcow2
    [[ $output != *failed* ]]
    ok "$CAIRN_IMG" snapshot -a one a.qcow2
    clean a.qcow2
    run "$QEMU_IO" -r -f qcow2 -c 'read -b -P 7 0 300k' -c 'read -P 1 0 1M' a.qcow2
    [ "$status" = 0 ] && [[ $output != *failed* ]]
}
