#!/usr/bin/env bats
# What cairn-img converts, checked and compared by qemu-img.
load ../bats/helper
load images

@test "raw to qcow2 with every option list" {
    require qemu-img
    pattern a.raw
    while read -r options; do
        ok "$CAIRN_IMG" convert -f raw -O qcow2 -o "$options" a.raw a.qcow2
        clean a.qcow2 && same raw a.raw qcow2 a.qcow2 || { echo "with $options"; return 1; }
    done < <(option_lists)
}

@test "compressed output with every cluster size, both codecs" {
    require qemu-img
    pattern a.raw
    for type in zlib zstd; do
        for cluster in 512 1k 4k 64k 2M; do
            ok "$CAIRN_IMG" convert -c -f raw -O qcow2 -o cluster_size=$cluster,compression_type=$type a.raw a.qcow2
            clean a.qcow2 && same raw a.raw qcow2 a.qcow2 || { echo "with $type, clusters of $cluster"; return 1; }
        done
    done
}

@test "compressed output is smaller than plain output" {
    seq 1000000 | head -c 4M >a.raw
    ok "$CAIRN_IMG" convert -O qcow2 a.raw plain.qcow2
    ok "$CAIRN_IMG" convert -c -O qcow2 a.raw packed.qcow2
    [ $(($(stat -c %s packed.qcow2) * 2)) -lt "$(stat -c %s plain.qcow2)" ]
}

@test "qcow2 to raw keeps holes" {
    require qemu-img qemu-io
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 64M
    ok "$QEMU_IO" -c 'write -q 1M 64k' a.qcow2
    ok "$CAIRN_IMG" convert -O raw a.qcow2 a.raw
    [ "$(stat -c %s a.raw)" = 67108864 ]
    [ "$(stat -c %b a.raw)" -lt 1000 ]
}

@test "several sources are concatenated" {
    require qemu-img
    pattern a.raw
    ok "$QEMU_IMG" convert -O qcow2 a.raw a.qcow2
    ok "$CAIRN_IMG" convert -f qcow2 -O raw a.qcow2 a.qcow2 b.raw
    cat a.raw a.raw | cmp - b.raw
}

@test "each of several sources begins on a sector" {
    require qemu-img
    head -c 1000 /dev/urandom >a.raw
    ok "$CAIRN_IMG" convert -f raw -O raw a.raw a.raw b.raw
    ok "$QEMU_IMG" convert -f raw -O raw a.raw a.raw theirs.raw
    cmp -n 2024 b.raw theirs.raw
    [ "$(stat -c %s b.raw)" = 2024 ]
}

@test "with a backing file only the differences are written" {
    require qemu-img qemu-io
    pattern base.raw
    cp base.raw changed.raw
    ok "$QEMU_IO" -f raw -c 'write -q -P 5 300k 64k' changed.raw
    ok "$CAIRN_IMG" convert -f raw -O qcow2 -B base.raw -F raw changed.raw over.qcow2
    clean over.qcow2
    same raw changed.raw qcow2 over.qcow2
    [ "$("$QEMU_IMG" map --output=json over.qcow2 | grep -c '"depth": 0')" = 1 ]
}

@test "an existing target is filled with -n" {
    require qemu-img
    pattern a.raw
    ok "$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k a.qcow2 4M
    ok "$CAIRN_IMG" convert -n -f raw -O qcow2 a.raw a.qcow2
    clean a.qcow2
    same raw a.raw qcow2 a.qcow2
}

@test "an existing target is filled compressed with -n -c" {
    require qemu-img
    pattern a.raw
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 4M
    for round in first again; do
        ok "$CAIRN_IMG" convert -n -c -f raw -O qcow2 a.raw a.qcow2
        ok "$QEMU_IMG" check -q a.qcow2
        "$QEMU_IMG" check a.qcow2 | grep -q ' [1-9][0-9.]*% compressed' || { echo "nothing compressed, $round"; return 1; }
        "$QEMU_IMG" compare -q -f raw -F qcow2 a.raw a.qcow2
    done
}

@test "old contents of an existing target do not show" {
    require qemu-img qemu-io
    truncate -s 2M zero.raw
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 2M
    ok "$QEMU_IO" -c 'write -q -P 9 0 2M' a.qcow2
    ok "$CAIRN_IMG" convert -n -f raw -O qcow2 zero.raw a.qcow2
    clean a.qcow2
    same raw zero.raw qcow2 a.qcow2
}

@test "a long qcow2 chain becomes one image" {
    require qemu-img qemu-io
    pattern 0.img
    local format=raw
    for i in $(seq 1 12); do
        ok "$QEMU_IMG" create -q -f qcow2 -b $((i - 1)).img -F $format $i.img
        ok "$QEMU_IO" -c "write -q -P $i $((i * 100))k 10k" $i.img
        format=qcow2
    done
    ok "$CAIRN_IMG" convert -f qcow2 -O qcow2 12.img flat.qcow2
    clean flat.qcow2
    same qcow2 12.img qcow2 flat.qcow2
    ! "$QEMU_IMG" info flat.qcow2 | grep backing
}

@test "the bytes of compressed output do not depend on the number of threads" {
    pattern a.raw
    ok "$CAIRN_IMG" convert -c -m 1 -O qcow2 a.raw 1.qcow2
    ok "$CAIRN_IMG" convert -c -m 7 -O qcow2 a.raw 7.qcow2
    ok "$CAIRN_IMG" convert -c -m 16 -W -O qcow2 a.raw w.qcow2
    cmp 1.qcow2 7.qcow2
    cmp 1.qcow2 w.qcow2
}
