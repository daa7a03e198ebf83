#!/usr/bin/env bats
# cairn-img amend: what can be changed, what is refused, every option.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR"
    { head -c 1M /dev/urandom && head -c 3M /dev/zero; } >want.raw
    "$CAIRN_IMG" convert -O qcow2 want.raw a.qcow2
}

amend() {
    ok "$CAIRN_IMG" amend -q -o "$1" a.qcow2
    ok "$CAIRN_IMG" compare -q -f raw -F qcow2 want.raw a.qcow2
    ok "$CAIRN_IMG" check -q a.qcow2
}

# Refused, with a text, and nothing is changed.
refused() {
    cp a.qcow2 before.qcow2
    fails 1 "$CAIRN_IMG" amend -o "$1" a.qcow2
    says "$2"
    cmp a.qcow2 before.qcow2
}

specific() {
    "$CAIRN_IMG" info --output=json a.qcow2 | sed -n "s/.*\"$1\": \"\?\([^\",]*\).*/\1/p"
}

@test "the version, down and up" {
    amend compat=0.10
    [ "$(specific compat)" = 0.10 ]
    amend compat=v3
    [ "$(specific compat)" = 1.1 ]
    amend compat=1.1
}

@test "zero clusters over a backing file become data in version 2" {
    "$CAIRN_IMG" convert -O qcow2 want.raw base.qcow2
    head -c 4M /dev/zero >want.raw
    "$CAIRN_IMG" convert -O qcow2 -b base.qcow2 -F qcow2 want.raw a.qcow2
    amend compat=0.10
    ok "$CAIRN_IMG" map --output=json a.qcow2
    says '"depth": 0, "present": true, "zero": false'
}

@test "the width of refcounts" {
    local bits
    for bits in 1 64 8 32 2 4 16; do
        amend refcount_bits=$bits
        [ "$(specific refcount-bits)" = $bits ]
    done
}

@test "lazy refcounts, several things at once, and the size" {
    amend lazy_refcounts=on,refcount_bits=32
    [ "$(specific lazy-refcounts)" = true ]
    amend lazy_refcounts=off,refcount_bits=16,compat=0.10
    [ "$(specific compat)" = 0.10 ]
    truncate -s 8M want.raw
    amend size=8M
    ok "$CAIRN_IMG" info a.qcow2
    says 'virtual size: 8 MiB'
}

@test "what the versions do not allow" {
    refused refcount_bits=3 'Refcount width must be a power of two and may not exceed 64 bits'
    refused compat=0.10,lazy_refcounts=on 'Lazy refcounts only supported with compatibility level 1.1'
    refused compat=0.10,refcount_bits=8 'compat=0.10 requires refcount_bits=16'
    amend refcount_bits=64
    refused compat=0.10 'compat=0.10 requires refcount_bits=16'
    amend compat=0.10,refcount_bits=16
    refused refcount_bits=64 'Refcount widths other than 16 bits require compatibility level 1.1'
    "$CAIRN_IMG" convert -c -O qcow2 -o compression_type=zstd want.raw a.qcow2
    refused compat=0.10 'zstd'
}

@test "a width that is too small for a shared cluster" {
    yes text | head -c 4M >want.raw
    "$CAIRN_IMG" convert -c -O qcow2 want.raw a.qcow2
    refused refcount_bits=1 'Cannot decrease refcount entry width to 1 bits: Cluster at offset'
    amend refcount_bits=64
}

@test "what is for new images only, or for others" {
    refused cluster_size=4k "Invalid parameter 'cluster_size'"
    refused extended_l2=on 'This option is only supported for image creation'
    refused nonsense=1 "Invalid parameter 'nonsense'"
    refused data_file=x 'data-file can only be set for images that use an external data file'
    refused data_file_raw=on 'data-file-raw cannot be set on existing images'
    refused encrypt.keyslot=1 'not encrypted'
    refused compat=1.2 'compat'
    refused size=much 'size'
    refused '' 'Invalid option list'
}

@test "the backing file takes --force" {
    refused backing_file=base.qcow2,backing_fmt=qcow2 'Cannot amend the backing file'
    ok "$CAIRN_IMG" amend --force -o backing_file=base.qcow2,backing_fmt=qcow2 a.qcow2
    [ "$(specific backing-filename)" = base.qcow2 ]
    ok "$CAIRN_IMG" amend --force -o backing_file= --image-opts driver=qcow2,file.filename=a.qcow2,backing=
    [ -z "$(specific backing-filename)" ]
}

@test "options in both spellings" {
    ok "$CAIRN_IMG" amend -f qcow2 -t none -p -o refcount_bits=64 a.qcow2
    says '(100.00/100%)'
    ok "$CAIRN_IMG" amend --format qcow2 --cache writethrough --progress=none --quiet --options refcount_bits=16 a.qcow2
    ok "$CAIRN_IMG" amend --object secret,id=s,data=x -q -o compat=0.10 a.qcow2
}

@test "-o help, and mistakes" {
    ok "$CAIRN_IMG" amend -f qcow2 -o help
    says "Amend options for 'qcow2':"
    says 'refcount_bits='
    ok "$CAIRN_IMG" amend -o help a.qcow2
    says 'lazy_refcounts='
    fails 1 "$CAIRN_IMG" amend -f raw -o help
    says "Format driver 'raw' does not support option amendment"
    fails 1 "$CAIRN_IMG" amend -f raw -o size=1M want.raw
    says "Format driver 'raw' does not support option amendment"
    fails 1 "$CAIRN_IMG" amend a.qcow2
    says 'Must specify options (-o)'
    fails 1 "$CAIRN_IMG" amend -o compat=1.1
    says 'Expecting one image file name'
}

@test "a guessed format that may be a raw disk's is not written to" {
    printf '\x55\xaa' | dd of=a.qcow2 bs=1 seek=510 conv=notrunc status=none
    refused refcount_bits=64 '-f qcow2'
    ok "$CAIRN_IMG" amend -f qcow2 -o refcount_bits=64 a.qcow2
}
