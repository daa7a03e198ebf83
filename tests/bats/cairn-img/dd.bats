#!/usr/bin/env bats
# cairn-img dd copies the bytes that dd(1) copies, from any format into any.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 3000320 /dev/zero | tr '\0' x >disk.raw
    printf abcdefghij | dd of=disk.raw bs=1 seek=150000 conv=notrunc status=none
    truncate -s 4000256 disk.raw
}

# Each set of operands, with dd(1) as the judge.
as_dd() {
    local image=$1 operands
    for operands in bs=4k "bs=1M count=1 skip=1" "bs=1000 skip=7 count=333" "bs=1 skip=150003 count=70001" \
        "bs=64k skip=1" "bs=1M count=0" "bs=1M skip=3 count=9" "count=3 bs=1b" "bs=100k count=1 bs=1k"; do
        # shellcheck disable=SC2086
        dd if=disk.raw of=want ${operands/1b/1} status=none
        rm -f got
        # shellcheck disable=SC2086
        ok "$CAIRN_IMG" dd if="$image" of=got $operands
        cmp want got || { echo "$operands" && return 1; }
    done
}

@test "a raw image" {
    as_dd disk.raw
}

@test "a compressed image, from within a cluster" {
    "$CAIRN_IMG" convert -q -c -O qcow2 disk.raw disk.qcow2
    as_dd disk.qcow2
}

@test "an overlay" {
    "$CAIRN_IMG" create -q -f qcow2 -b disk.raw -F raw top.qcow2
    as_dd top.qcow2
}

@test "-O makes an image of that format, as long as the part" {
    dd if=disk.raw of=want bs=1k skip=3 count=500 status=none
    ok "$CAIRN_IMG" dd -f raw -O qcow2 if=disk.raw of=got.qcow2 bs=1k skip=3 count=500
    ok "$CAIRN_IMG" compare -f raw -F qcow2 want got.qcow2
    ok "$CAIRN_IMG" info got.qcow2
    says "(512000 bytes)"
}

@test "--image-opts" {
    ok "$CAIRN_IMG" dd --image-opts if=driver=raw,file.filename=disk.raw,offset=512 of=got bs=512 count=2
    cmp <(head -c 1536 disk.raw | tail -c 1024) got
}

@test "a skip past the end makes an empty image, and says so" {
    run "$CAIRN_IMG" dd if=disk.raw of=got bs=1M skip=100
    [ "$status" = 0 ]
    says "disk.raw: cannot skip to specified offset"
    [ "$(stat -c %s got)" = 0 ]
    run "$CAIRN_IMG" dd if=disk.raw of=got bs=2147483647 skip=9223372036854775807
    [ "$status" = 0 ]
}

@test "wrong operands are refused, and the output is left alone" {
    local words
    echo old >got
    for words in "" "if=disk.raw" "of=got" "if=disk.raw of=got bs=0" "if=disk.raw of=got bs=2G" "if=disk.raw of=got bs=x" \
        "if=disk.raw of=got count=-1" "if=disk.raw of=got count=" "if=disk.raw of=got skip=1x" \
        "if=disk.raw of=got seek=1" "if=disk.raw of=got got" "if=none of=got" "-O none if=disk.raw of=got" \
        "if= of=got"; do
        # shellcheck disable=SC2086
        fails 1 "$CAIRN_IMG" dd $words
        [ "$(<got)" = old ]
    done
    fails 1 "$CAIRN_IMG" dd if=disk.raw of=got bs=0
    says "Invalid bs specified. Must be between 1 and 2147483647."
    fails 1 "$CAIRN_IMG" dd if=disk.raw of=disk.raw
    says "both source and target"
}

@test "an output that cannot be completed is not there" {
    printf '[inject-error]\nevent = "read_aio"\n' >rules
    "$CAIRN_IMG" convert -q -O qcow2 disk.raw disk.qcow2
    fails 1 "$CAIRN_IMG" dd if=blkdebug:rules:disk.qcow2 of=got
    [ ! -e got ]
}

@test "an untrusted image" {
    ok "$CAIRN_IMG" dd --untrusted -f raw if=disk.raw of=got bs=1000 count=2
    cmp <(head -c 2000 disk.raw) got
}
