#!/usr/bin/env bats
# cairn-io's commands where more than their output counts: tests/golden has that. What a write left in the
# image is checked with cairn-img.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    "$CAIRN_IMG" create -q -f qcow2 disk.qcow2 1M
}

# The bytes of disk.qcow2 are those of want.raw.
holds() {
    ok "$CAIRN_IMG" compare -f qcow2 -F raw disk.qcow2 want.raw
}

# byte VALUE COUNT OFFSET: writes into want.raw.
byte() {
    head -c "$2" /dev/zero | tr '\0' "\\$1" | dd of=want.raw bs=1 seek="$3" conv=notrunc status=none
}

@test "write, writev and their patterns" {
    truncate -s 1M want.raw
    byte 315 1000 5
    byte 007 300 2000
    byte 011 70 3000
    ok "$CAIRN_IO" -c 'write -q 5 1000' -c 'write -q -P 7 2000 300' -c 'writev -q -P 9 3000 10 20 40' disk.qcow2
    holds
}

@test "write -z, with and without -u, and discard" {
    truncate -s 1M want.raw
    byte 315 65536 0
    ok "$CAIRN_IO" -c 'write -q 0 512k' -c 'write -q -z 64k 64k' -c 'write -q -zu 128k 100k' \
        -c 'write -q -z 228k 284k' -c 'write -q -zu 227k 1k' disk.qcow2
    holds
    ok "$CAIRN_IO" -c 'discard -q 0 64k' -c map disk.qcow2
    says "bytes     allocated at offset"
}

@test "write -c makes compressed clusters" {
    truncate -s 1M want.raw
    byte 315 131072 0
    ok "$CAIRN_IO" -c 'write -q -c 0 128k' disk.qcow2
    holds
    ok "$CAIRN_IMG" map --output=json disk.qcow2
    says '"compressed": true'
}

@test "write -s fills with a file" {
    printf 'abc' >source
    { printf 'abcabca'; head -c $((1024 * 1024 - 7)) /dev/zero; } >want.raw
    ok "$CAIRN_IO" -c 'write -q -s source 0 7' disk.qcow2
    holds
}

@test "aio_write and aio_discard have ended when the program has" {
    truncate -s 1M want.raw
    byte 003 4096 8192
    ok "$CAIRN_IO" -c 'aio_write -q -P 3 8k 4k' disk.qcow2
    holds
}

@test "asynchronous requests end while the program waits for input" {
    ok "$CAIRN_IO" disk.qcow2 < <(
        echo 'aio_write 0 64k'
        while [ ! -e ended ] && ((SECONDS < 20)); do read -rt 0.05 <> <(:) || :; grep -q wrote "$BATS_TEST_TMPDIR/.out" && touch ended; done
        echo length
    )
    [ -e ended ]
    [[ $output == "wrote 65536/65536 bytes at offset 0"*"1 MiB" ]]
}

@test "a breakpoint holds a request, and a second one to the same cluster" {
    ok "$CAIRN_IO" -c 'break write_aio A' -c 'aio_write -P 1 0 64k' -c 'wait_break A' \
        -c 'aio_write -P 2 0 64k' -c 'resume A' -c aio_flush -c 'read -P 2 -q 0 64k' blkdebug::disk.qcow2
    says "blkdebug: Suspended request 'A'"
    says "blkdebug: Resuming request 'A'"
}

@test "what is left at a breakpoint goes on when the program ends" {
    ok "$CAIRN_IO" -c 'break write_aio A' -c 'aio_write -P 1 0 64k' -c 'wait_break A' blkdebug::disk.qcow2
    ok "$CAIRN_IO" -c 'read -q -P 1 0 64k' disk.qcow2
    fails 1 "$CAIRN_IO" -c 'wait_break A' blkdebug::disk.qcow2
    says "no request is on its way"
}

@test "a snapshot takes the writes, and the image stays as it was" {
    sha256sum disk.qcow2 >before
    ok "$CAIRN_IO" -s -c 'write -q -P 1 0 64k' -c 'read -q -P 1 0 64k' disk.qcow2
    sha256sum -c before
    ok "$CAIRN_IO" -s -f raw -c 'write -q -P 1 0 64k' disk.qcow2
    sha256sum -c before
    ok "$CAIRN_IO" -s --image-opts -c 'write -q -P 1 0 64k' driver=qcow2,file.filename=disk.qcow2
    sha256sum -c before
    fails 1 "$CAIRN_IO" -s -c 'reopen -r' disk.qcow2
    [ -z "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'cairn-io-*' 2>/dev/null)" ]
}

@test "copy-on-read brings what is read up from the backing file" {
    ok "$CAIRN_IO" -c 'write -q -P 5 64k 64k' disk.qcow2
    "$CAIRN_IMG" create -q -f qcow2 -b disk.qcow2 -F qcow2 top.qcow2
    ok "$CAIRN_IO" -C -c 'read -q -P 5 70k 1k' top.qcow2
    ok "$CAIRN_IO" -c 'alloc 64k 64k' -c 'alloc 128k 64k' top.qcow2
    says "65536/65536 bytes allocated at offset 64 KiB"
    says "0/65536 bytes allocated at offset 128 KiB"
}

@test "reopen keeps what is open when the new options are wrong" {
    fails 1 "$CAIRN_IO" -c 'reopen -o bogus=1' -c 'write -q 0 1' -c length disk.qcow2
    says "1 MiB"
    ok "$CAIRN_IO" -c 'reopen -o l2-cache-size=64k' -c 'write -q 0 1' disk.qcow2
}

@test "the first block of an image whose raw format was guessed is guarded" {
    truncate -s 1M plain.raw
    printf 'QFI\373\0\0\0\3' >source
    run "$CAIRN_IO" -c 'write -s source 0 8' plain.raw
    [ "$status" = 1 ]
    says "WARNING: Image format was not specified for 'plain.raw'"
    says "Operation not permitted"
    ok "$CAIRN_IO" -f raw -c 'write -q -s source 0 8' plain.raw
}

@test "an untrusted image is read in confinement" {
    ok "$CAIRN_IO" --untrusted -r -c 'read -q 0 64k' disk.qcow2
    "$CAIRN_IMG" create -q -f qcow2 -b disk.qcow2 -F qcow2 top.qcow2
    fails 1 "$CAIRN_IO" --untrusted -r -c 'read -q 0 64k' top.qcow2
    says "not followed"
}

@test "a throttle group slows what is read through it" {
    local options=driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2
    local start=${EPOCHREALTIME/[.,]/}
    ok "$CAIRN_IO" --object throttle-group,id=g,x-bps-total=1000000 --image-opts \
        -c 'read -q 0 200k' -c 'read -q 0 200k' -c 'read -q -P 0 0 1k' $options
    [ $((${EPOCHREALTIME/[.,]/} - start)) -ge 300000 ]
    ok "$CAIRN_IMG" info --object throttle-group,id=g,limits.iops-total=1000 --image-opts $options
    fails 1 "$CAIRN_IO" --object throttle-group,id=h --image-opts $options
    says "Throttle group 'g' does not exist"
    fails 1 "$CAIRN_IO" --object throttle-group,id=g,x-bps-total-max=1 --image-opts $options
    says "bps_max requires"
    fails 1 "$CAIRN_IO" --object iothread,id=g --image-opts $options
    says "secret and throttle-group"
}

@test "blkverify tells where two images differ" {
    truncate -s 1M raw.img
    ok "$CAIRN_IO" -f raw -c 'write -q -P 1 0 64k' -c 'read -q 0 1M' blkverify:raw.img:disk.qcow2
    ok "$CAIRN_IMG" compare raw.img disk.qcow2
    printf x | dd of=raw.img bs=1 seek=70000 conv=notrunc status=none
    fails 1 "$CAIRN_IO" -f raw -c 'read -q 64k 64k' blkverify:raw.img:disk.qcow2
    says "contents mismatch at offset 70000"
}
