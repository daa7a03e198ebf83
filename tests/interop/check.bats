#!/usr/bin/env bats
# Damaged images: qemu-img finds what we find, and what one has repaired the other finds clean and with the same contents.
load ../bats/helper
load images

# NAME OFFSET HEX ...: damages of disk.qcow2. Its layout: refcount table at 64 KiB, block at 128, L1 at 192, L2 at 256, data.
damages() {
    cat <<'END'
nothing
leak 0x40000 0000000000000000
refcount-high 0x2000a 0003
refcount-low 0x2000a 0000
many-low 0x20000 00000000000000000000
copied-lost-l2 0x40000 0000000000050000
copied-lost-l1 0x30000 0000000000040000
copied-wrong 0x2000a 0002
shared 0x40000 8000000000060000
data-is-l1 0x40000 8000000000030000
entry-past-end 0x40000 8000001000050000
entry-at-end 0x40000 8000000000150000
entry-unaligned 0x40000 8000000000050200
zero-unaligned 0x40000 8000000000050201
compressed-past-end 0x40000 4000001000050000
compressed-header 0x40000 4000000000000000
l1-past-end 0x30000 8000001000040000
no-block 0x10000 0000000000000000
block-past-end 0x10000 0000001000020000
block-twice 0x10008 0000000000020000
block-is-data 0x10008 0000000000050000
table-is-block 0x10008 0000000000010000
table-past-end 48 0000001000000000
corrupt-bit 72 0000000000000002
dirty-bit 72 0000000000000001
two-things 0x2000a 0003 0x40008 0000000000060000
END
}

make() {
    head -c 1M /dev/urandom >disk.raw
    "$QEMU_IMG" create -q -f qcow2 -o preallocation=metadata disk.qcow2 1M
    "$QEMU_IMG" convert -n -O qcow2 disk.raw disk.qcow2
}

# damaged OFFSET HEX ...: a.qcow2 and b.qcow2, the same.
damaged() {
    cp disk.qcow2 a.qcow2
    for (( ; $#; )); do
        printf "$(sed 's/../\\x&/g' <<<"$2")" | dd of=a.qcow2 bs=1 seek=$(($1)) conv=notrunc status=none
        shift 2
    done
    cp a.qcow2 b.qcow2
}

# A check as its status, findings and numbers; the report of both kinds, sorted where order is nobody's business.
judged() {
    local status=0
    "$1" check -f qcow2 "$2" >out 2>err || status=$?
    echo "status $status"
    cat out
    grep -E '^(ERROR|Leaked)' err || true
}

@test "both find the same" {
    require qemu-img
    make
    while read -r name pokes; do
        damaged $pokes
        judged "$QEMU_IMG" a.qcow2 >theirs
        judged "$CAIRN_IMG" a.qcow2 >ours
        diff -u --label "qemu-img: $name" --label ours theirs ours
    done < <(damages)
}

# repaired MODE: a.qcow2 by qemu-img, b.qcow2 by us.
@test "what one repairs is as good to the other, and so are the contents" {
    require qemu-img
    make
    while read -r name pokes; do
        damaged $pokes
        "$QEMU_IMG" check -q -r all a.qcow2 >/dev/null 2>&1 || true
        "$CAIRN_IMG" check -q -r all b.qcow2 >/dev/null 2>&1 || true
        for image in a.qcow2 b.qcow2; do
            judged "$QEMU_IMG" $image | grep -v 'end offset' >theirs
            judged "$CAIRN_IMG" $image | grep -v 'end offset' >ours
            diff -u --label "qemu-img: $name, $image" --label ours theirs ours
        done
        judged "$CAIRN_IMG" a.qcow2 | head -1 >first
        judged "$CAIRN_IMG" b.qcow2 | head -1 | diff -u --label "$name, theirs" first -
        run "$QEMU_IMG" compare -q a.qcow2 b.qcow2
        [[ $status == [0234] ]] || { echo "$name: contents differ"; return 1; }
    done < <(damages)
}

@test "repairing leaks only leaves what qemu-img leaves" {
    require qemu-img
    make
    while read -r name pokes; do
        case $name in refcount-low | many-low | no-block | block-* | table-*) continue ;; esac # qemu-img refuses
        damaged $pokes
        "$QEMU_IMG" check -q -r leaks a.qcow2 >/dev/null 2>&1 || true
        "$CAIRN_IMG" check -q -r leaks b.qcow2 >/dev/null 2>&1 || true
        cmp a.qcow2 b.qcow2 || { echo "$name: tables or data differ"; return 1; }
    done < <(damages)
}

@test "a dirty image of qemu-io is repaired when we write to it, and the other way round" {
    require qemu-img qemu-io
    "$QEMU_IMG" create -q -f qcow2 -o lazy_refcounts=on a.qcow2 10M
    "$QEMU_IO" -c 'write -P 7 0 3M' -c 'sigraise 9' a.qcow2 >/dev/null 2>&1 || true
    [ "$(od -An -tx1 -j79 -N1 a.qcow2)" = " 01" ]
    ok "$BLK_IO" qcow2 a.qcow2 'write 8 5M 64k'
    clean a.qcow2
    ok "$QEMU_IO" -r -c 'read -P 7 0 3M' -c 'read -P 8 5M 64k' a.qcow2
    [ "$(od -An -tx1 -j79 -N1 a.qcow2)" = " 00" ]
    printf '\1' | dd of=a.qcow2 bs=1 seek=79 conv=notrunc status=none
    ok "$QEMU_IO" -c 'write -P 9 6M 64k' a.qcow2
    ok "$CAIRN_IMG" check a.qcow2
}
