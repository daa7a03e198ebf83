#!/usr/bin/env bats
# Images that qemu-img and qemu-io wrote, as cairn-img reads them.
load ../bats/helper
load images

# theirs FILE OPTIONS: an image with written, overwritten, zeroed and discarded ranges.
theirs() {
    "$QEMU_IMG" create -q -f qcow2 -o "$2" "$1" 3M
    "$QEMU_IO" -f qcow2 -c 'write -q -P 1 0 100k' -c 'write -q -P 2 50000 1000' -c 'write -q -z 64k 192k' \
        -c 'write -q -P 3 1M 513k' -c 'discard -q 1200k 64k' -c 'write -q -P 4 3145000 728' "$1"
}

@test "every option list is read as qemu-img reads it" {
    require qemu-img qemu-io
    while read -r options; do
        theirs a.qcow2 "$options"
        ok "$QEMU_IMG" convert -f qcow2 -O raw a.qcow2 theirs.raw
        ok "$CAIRN_IMG" convert -f qcow2 -O raw a.qcow2 ours.raw
        cmp theirs.raw ours.raw || { echo "with $options"; return 1; }
        ok "$CAIRN_IMG" compare -q -f qcow2 -F raw a.qcow2 theirs.raw
    done < <(data_option_lists)
}

@test "maps are equal" {
    require qemu-img qemu-io
    while read -r options; do
        theirs a.qcow2 "$options"
        "$QEMU_IMG" map --output=json a.qcow2 | plain_map >theirs
        ok "$CAIRN_IMG" map --output=json a.qcow2
        diff theirs <(plain_map <<<"$output") || { echo "with $options"; return 1; }
        diff <("$QEMU_IMG" map a.qcow2) <("$CAIRN_IMG" map a.qcow2) || { echo "with $options"; return 1; }
    done < <(data_option_lists)
}

@test "maps of preallocated images tell zero clusters from holes" {
    require qemu-img qemu-io
    "$QEMU_IMG" create -q -f qcow2 -o preallocation=metadata a.qcow2 1M
    "$QEMU_IO" -f qcow2 -c 'write -q -z 64k 128k' -c 'write -q 512k 64k' a.qcow2
    "$QEMU_IMG" map --output=json a.qcow2 | plain_map >theirs
    ok "$CAIRN_IMG" map --output=json a.qcow2
    diff theirs <(plain_map <<<"$output")
}

@test "compressed images are read as qemu-img reads them" {
    require qemu-img
    pattern a.raw
    for type in zlib zstd; do
        for cluster in 512 4k 64k 2M; do
            ok "$QEMU_IMG" convert -c -O qcow2 -o cluster_size=$cluster,compression_type=$type a.raw a.qcow2
            ok "$CAIRN_IMG" convert -f qcow2 -O raw a.qcow2 b.raw
            cmp a.raw b.raw || { echo "with $type, clusters of $cluster"; return 1; }
            ok "$CAIRN_IMG" compare -q -f raw -F qcow2 a.raw a.qcow2
        done
    done
}

@test "compressed clusters that were partly overwritten are read" {
    require qemu-img qemu-io
    pattern a.raw
    ok "$QEMU_IMG" convert -c -O qcow2 a.raw a.qcow2
    ok "$QEMU_IO" -c 'write -q -P 9 100k 1k' -c 'discard -q 128k 64k' a.qcow2
    ok "$QEMU_IMG" convert -O raw a.qcow2 theirs.raw
    ok "$CAIRN_IMG" convert -O raw a.qcow2 ours.raw
    cmp theirs.raw ours.raw
}

@test "chains of four images are read, also where layers are shorter" {
    require qemu-img qemu-io
    pattern base.raw
    ok "$QEMU_IMG" create -q -f qcow2 -b base.raw -F raw 1.qcow2 2M
    ok "$QEMU_IMG" create -q -f qcow2 -b 1.qcow2 -F qcow2 2.qcow2 5M
    ok "$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k -b 2.qcow2 -F qcow2 3.qcow2 4M
    for i in 1 2 3; do ok "$QEMU_IO" -c "write -q -P $i ${i}00k 70k" -c "write -q -z ${i}70k 40k" $i.qcow2; done
    ok "$QEMU_IMG" convert -O raw 3.qcow2 theirs.raw
    ok "$CAIRN_IMG" convert -O raw 3.qcow2 ours.raw
    cmp theirs.raw ours.raw
    diff <("$QEMU_IMG" map --output=json 3.qcow2 | plain_map) <("$CAIRN_IMG" map --output=json 3.qcow2 | plain_map)
}

@test "an image that has snapshots is read, and left alone" {
    require qemu-img qemu-io
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 2M
    ok "$QEMU_IO" -c 'write -q -P 1 0 1M' a.qcow2
    ok "$QEMU_IMG" snapshot -c one a.qcow2
    ok "$QEMU_IO" -c 'write -q -P 2 100k 300k' a.qcow2
    ok "$QEMU_IMG" convert -O raw a.qcow2 theirs.raw
    ok "$CAIRN_IMG" convert -O raw a.qcow2 ours.raw
    cmp theirs.raw ours.raw
    clean a.qcow2
}

@test "extended L2 entries and data files are refused by name, never misread" {
    require qemu-img
    ok "$QEMU_IMG" create -q -f qcow2 -o extended_l2=on,cluster_size=128k sub.qcow2 2M
    ok "$QEMU_IMG" create -q -f qcow2 -o data_file=d.raw data.qcow2 2M
    for image in sub data; do
        for command in "convert -O raw $image.qcow2 out.raw" "map $image.qcow2"; do
            run "$CAIRN_IMG" $command
            [ "$status" = 0 ] || [[ $output == *"extended L2"* || $output == *"data file"* ]] || { echo "$output"; return 1; }
        done
    done
}
