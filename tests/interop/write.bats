#!/usr/bin/env bats
# Writes through libblock, checked by qemu-img and read back by qemu-io.
load ../bats/helper
load images

commands=('write 1 0 100k' 'write 2 50000 1000' 'zero 64k 192k' 'write 3 1M 513k' 'discard 1200k 64k'
    'flush' 'write 4 3145000 728' 'zero 1100k 3k')
checks=(-c 'read -P 1 0 50000' -c 'read -P 2 50000 1000' -c 'read -P 0 64k 192k' -c 'read -P 3 1M 64k'
    -c 'read -P 0 1100k 3k' -c 'read -P 4 3145000 728' -c 'read -P 3 1264k 200k')

# verify FILE OPTIONS
verify() {
    ok "$BLK_IO" qcow2 "$1" "${commands[@]}"
    clean "$1" || { echo "with $2"; return 1; }
    run "$QEMU_IO" -r -f qcow2 "${checks[@]}" "$1"
    [ "$status" = 0 ] && [[ $output != *failed* ]] || { echo "with $2"; echo "$output"; return 1; }
}

@test "writes into images of qemu-img leave them clean and right" {
    require qemu-img qemu-io
    while read -r options; do
        ok "$QEMU_IMG" create -q -f qcow2 -o "$options" a.qcow2 3M
        verify a.qcow2 "$options"
    done < <(option_lists)
}

@test "writes into our images leave them clean and right" {
    require qemu-img qemu-io
    while read -r options; do
        ok "$CAIRN_IMG" create -q -f qcow2 -o "$options" a.qcow2 3M
        verify a.qcow2 "$options"
    done < <(option_lists)
}

@test "writes over compressed clusters leave the image clean" {
    require qemu-img qemu-io
    pattern a.raw
    for type in zlib zstd; do
        ok "$QEMU_IMG" convert -c -O qcow2 -o cluster_size=4k,compression_type=$type a.raw a.qcow2
        verify a.qcow2 "$type"
    done
}

@test "a write into an overlay copies the rest of the cluster up" {
    require qemu-img qemu-io
    pattern base.raw
    ok "$QEMU_IMG" create -q -f qcow2 -b base.raw -F raw a.qcow2
    ok "$BLK_IO" qcow2 a.qcow2 'write 7 1230000 5000' 'zero 1300k 1k' 'discard 0 64k'
    clean a.qcow2
    cp base.raw b.raw
    ok "$QEMU_IO" -f raw -c 'write -q -P 7 1230000 5000' -c 'write -q -z 1300k 1k' b.raw
    same qcow2 a.qcow2 raw b.raw
}

@test "extensions and features that we do not know survive a write" {
    require qemu-img python3
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 1M
    python3 - <<'END'
import struct
with open("a.qcow2", "r+b") as f:
    head = bytearray(f.read(65536))
    length = struct.unpack(">I", head[100:104])[0]
    ext = struct.pack(">II", 0x43414952, 5) + b"hello\0\0\0"
    head[length + len(ext):65536] = head[length:65536 - len(ext)]
    head[length:length + len(ext)] = ext
    f.seek(0), f.write(head)
END
    ok "$BLK_IO" qcow2 a.qcow2 'write 1 0 64k'
    head -c 65536 a.qcow2 | grep -qa 'CAIR.*hello'
    clean a.qcow2
}

@test "writes to a raw image land where they should" {
    require qemu-io
    truncate -s 1M a.raw
    ok "$BLK_IO" raw a.raw 'write 1 0 4k' 'write 2 1000 24' 'zero 2k 512' 'write 3 1048575 1'
    run "$QEMU_IO" -r -f raw -c 'read -P 1 0 1000' -c 'read -P 2 1000 24' -c 'read -P 0 2k 512' -c 'read -P 3 1048575 1' a.raw
    [[ $output != *failed* ]]
}
