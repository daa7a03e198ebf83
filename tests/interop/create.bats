#!/usr/bin/env bats
# Images that cairn-img creates, as qemu-img sees them.
load ../bats/helper
load images

@test "every option list makes an image that qemu-img finds clean" {
    require qemu-img
    while read -r options; do
        ok "$CAIRN_IMG" create -q -f qcow2 -o "$options" a.qcow2 5M
        clean a.qcow2 || { echo "with $options"; return 1; }
    done < <(option_lists)
}

@test "the header says what was asked for" {
    require qemu-img
    while read -r options; do
        ok "$CAIRN_IMG" create -q -f qcow2 -o "$options" ours.qcow2 5M
        ok "$QEMU_IMG" create -q -f qcow2 -o "$options" theirs.qcow2 5M
        diff <("$QEMU_IMG" info ours.qcow2 | masked | grep -vE 'image:|filename:') \
            <("$QEMU_IMG" info theirs.qcow2 | masked | grep -vE 'image:|filename:') || { echo "with $options"; return 1; }
    done < <(option_lists)
}

@test "preallocated images read as zero and are allocated" {
    require qemu-img
    truncate -s 5M zero.raw
    for mode in metadata falloc full; do
        ok "$CAIRN_IMG" create -q -f qcow2 -o preallocation=$mode a.qcow2 5M
        same raw zero.raw qcow2 a.qcow2
        "$QEMU_IMG" map --output=json a.qcow2 >map
        ! grep '"present": false\|"data": false, "zero": true, "offset"' map || return 1
    done
}

@test "odd sizes are rounded as qemu-img rounds them" {
    require qemu-img
    for size in 1 511 512 513 65537 1000000 3G 1T; do
        ok "$CAIRN_IMG" create -q -f qcow2 ours.qcow2 $size
        ok "$QEMU_IMG" create -q -f qcow2 theirs.qcow2 $size
        diff <("$QEMU_IMG" info ours.qcow2 | grep virtual) <("$QEMU_IMG" info theirs.qcow2 | grep virtual)
    done
}

@test "an overlay takes size and format of its backing file" {
    require qemu-img
    ok "$QEMU_IMG" create -q -f qcow2 base.qcow2 7M
    ok "$CAIRN_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
    diff <("$QEMU_IMG" info over.qcow2 | grep -E 'virtual|backing') - <<'END'
virtual size: 7 MiB (7340032 bytes)
backing file: base.qcow2
backing file format: qcow2
END
    clean over.qcow2
}

@test "raw images have the size that was asked for" {
    for size in 0 1 512 1000000; do
        ok "$CAIRN_IMG" create -q a.raw $size
        [ "$(stat -c %s a.raw)" = $size ]
    done
}
