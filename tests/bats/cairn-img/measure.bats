#!/usr/bin/env bats
# cairn-img measure: sizes, options, mistakes.
load ../helper

@test "an empty disk" {
    ok "$CAIRN_IMG" measure -O qcow2 --size 1G
    [ "$output" = "required size: 393216
fully allocated size: 1074135040" ]
    ok "$CAIRN_IMG" measure -s 12345
    [ "$output" = "required size: 12800
fully allocated size: 12800" ]
}

@test "raw is the default, in both spellings of every option" {
    truncate -s 1M a.raw
    ok "$CAIRN_IMG" measure -f raw a.raw
    says 'required size: 1048576'
    ok "$CAIRN_IMG" measure --format raw --target-format raw --force-share a.raw
    says 'fully allocated size: 1048576'
    ok "$CAIRN_IMG" measure -U --target-format qcow2 --target-format-options cluster_size=4k --size 1M
    says 'required size: 20480'
}

@test "JSON" {
    ok "$CAIRN_IMG" measure --output json -O qcow2 --size 1M
    [ "$(tr -d ' \n' <<<"$output")" = '{"required":327680,"fully-allocated":1376256}' ]
}

@test "only data counts, and whole clusters of it" {
    truncate -s 10M a.raw
    printf x | dd of=a.raw bs=1 seek=70000 conv=notrunc status=none
    printf x | dd of=a.raw bs=1 seek=5M conv=notrunc status=none
    ok "$CAIRN_IMG" measure -f raw -O qcow2 a.raw
    says "required size: $((5 * 65536 + 2 * 65536))"
    ok "$CAIRN_IMG" measure -f raw -O qcow2 -o cluster_size=1M a.raw
    says "required size: $((5 * 1048576 + 2 * 1048576))"
}

@test "preallocation and a backing file count everything" {
    truncate -s 10M a.raw
    ok "$CAIRN_IMG" measure -f raw -O qcow2 -o preallocation=full a.raw
    says "required size: 10813440"
    ok "$CAIRN_IMG" measure -f raw -O qcow2 -o backing_file=b,backing_fmt=raw a.raw
    says "required size: 10813440"
}

@test "an image option list as the source" {
    "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
    ok "$CAIRN_IMG" measure --image-opts driver=qcow2,file.filename=a.qcow2
    says 'required size: 1048576'
    ok "$CAIRN_IMG" measure -O qcow2 --object secret,id=s,data=x a.qcow2
    says 'bitmaps size: 0'
}

@test "a converted image is never larger" {
    head -c 3M /dev/urandom >a.raw
    for options in cluster_size=512 cluster_size=512,refcount_bits=64 cluster_size=4k cluster_size=64k; do
        "$CAIRN_IMG" convert -f raw -O qcow2 -o "$options" a.raw a.qcow2
        ok "$CAIRN_IMG" measure -f raw -O qcow2 -o "$options" a.raw
        [ "$(stat -c %s a.qcow2)" -le "$(sed -n 's/required size: //p' <<<"$output")" ]
    done
}

@test "mistakes" {
    truncate -s 1M a.raw
    fails 1 "$CAIRN_IMG" measure -O qcow2
    says 'Either --size N or one filename must be specified.'
    fails 1 "$CAIRN_IMG" measure --size 1M a.raw
    says '--size N cannot be used together with a filename.'
    fails 1 "$CAIRN_IMG" measure --size 1M -f raw
    says '--image-opts, -f, and -l require a filename argument.'
    fails 1 "$CAIRN_IMG" measure --size 1M -O file
    says "Block driver 'file' does not support size measurement"
    fails 1 "$CAIRN_IMG" measure --size 1M -O nothing
    says "Unknown file format 'nothing'"
    fails 1 "$CAIRN_IMG" measure --size 1x
    says 'Invalid image size'
    fails 1 "$CAIRN_IMG" measure --size 1T -O qcow2 -o cluster_size=512
    says 'too large'
    fails 1 "$CAIRN_IMG" measure --size 1M -O qcow2 -o extended_l2=on
    says 'extended_l2'
    fails 1 "$CAIRN_IMG" measure --size 1M -O qcow2 -o nonsense=1
    says "'nonsense'"
    fails 1 "$CAIRN_IMG" measure -f raw a.raw a.raw
    fails 1 "$CAIRN_IMG" measure none.raw
    says 'none.raw'
}

@test "-o help" {
    ok "$CAIRN_IMG" measure -O qcow2 -o help
    says 'cluster_size='
}
