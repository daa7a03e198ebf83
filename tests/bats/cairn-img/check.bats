load ../helper

# 16 clusters of data; layout: header, refcount table, refcount block, L1, L2, data from 0x50000 on.
setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 1M /dev/urandom >disk.raw
    "$CAIRN_IMG" create -q -f qcow2 -o preallocation=metadata disk.qcow2 1M
    "$CAIRN_IMG" convert -n -O qcow2 disk.raw disk.qcow2
}

# poke FILE OFFSET HEX
poke() {
    printf "$(sed 's/../\\x&/g' <<<"$3")" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

@test "check says that an image is clean" {
    ok "$CAIRN_IMG" check disk.qcow2
    [ "$output" = "No errors were found on the image.
16/16 = 100.00% allocated, 0.00% fragmented, 0.00% compressed clusters
Image end offset: 1376256" ]
}

@test "check tells leaks, and exits with 3" {
    poke disk.qcow2 0x40000 0000000000000000
    fails 3 "$CAIRN_IMG" check disk.qcow2
    [ "$output" = "Leaked cluster 5 refcount=1 reference=0

1 leaked clusters were found on the image.
This means waste of disk space, but no harm to data.
15/16 = 93.75% allocated, 0.00% fragmented, 0.00% compressed clusters
Image end offset: 1376256" ]
}

@test "check tells errors, and exits with 2" {
    poke disk.qcow2 0x2000a 0000
    fails 2 "$CAIRN_IMG" check disk.qcow2
    says "ERROR cluster 5 refcount=0 reference=1"
    says "ERROR OFLAG_COPIED data cluster: l2_entry=8000000000050000 refcount=0"
    says "2 errors were found on the image."
}

@test "check tells a wrong COPIED flag of an L2 table" {
    poke disk.qcow2 0x30000 0000000000040000
    fails 2 "$CAIRN_IMG" check disk.qcow2
    says "ERROR OFLAG_COPIED L2 cluster: l1_index=0 l1_entry=40000 refcount=1"
}

@test "check --output=json gives the numbers" {
    poke disk.qcow2 0x40000 0000000000000000
    run --separate-stderr "$CAIRN_IMG" check --output json disk.qcow2
    [ "$status" = 3 ]
    [ "$output" = '{
    "image-end-offset": 1376256,
    "total-clusters": 16,
    "check-errors": 0,
    "leaks": 1,
    "allocated-clusters": 15,
    "filename": "disk.qcow2",
    "format": "qcow2"
}' ]
    [ "$stderr" = "Leaked cluster 5 refcount=1 reference=0" ]
}

@test "check -q tells findings and no summary" {
    ok "$CAIRN_IMG" check -q disk.qcow2
    [ "$output" = "" ]
    poke disk.qcow2 0x40000 0000000000000000
    fails 3 "$CAIRN_IMG" check --quiet disk.qcow2
    [ "$output" = "Leaked cluster 5 refcount=1 reference=0" ]
}

@test "check exits with 63 for a format that has nothing to check" {
    fails 63 "$CAIRN_IMG" check -f raw disk.raw
    says "have nothing to check"
}

@test "check exits with 1 when the image cannot be checked" {
    fails 1 "$CAIRN_IMG" check nothing.qcow2
    says "nothing.qcow2"
    fails 1 "$CAIRN_IMG" check -f qcow2 disk.raw
    fails 1 "$CAIRN_IMG" check -r some disk.qcow2
    says "expects 'leaks' or 'all', not 'some'"
    fails 1 "$CAIRN_IMG" check -U -r all disk.qcow2
    fails 1 "$CAIRN_IMG" check -T sometimes disk.qcow2
    fails 1 "$CAIRN_IMG" check
}

@test "check takes every spelling of its options" {
    ok "$CAIRN_IMG" check -f qcow2 -T none disk.qcow2
    ok "$CAIRN_IMG" check --format=qcow2 --cache writeback --output human --force-share disk.qcow2
    ok "$CAIRN_IMG" check -U --object secret,id=s,data=x --image-opts driver=qcow2,file.filename=disk.qcow2
    says "No errors"
}

@test "check -r leaks frees what nothing refers to, and says so" {
    poke disk.qcow2 0x40000 0000000000000000
    run --separate-stderr "$CAIRN_IMG" check -r leaks disk.qcow2
    [ "$status" = 0 ]
    [ "$output" = "The following inconsistencies were found and repaired:

    1 leaked clusters
    0 corruptions

Double checking the fixed image now...
No errors were found on the image.
15/16 = 93.75% allocated, 0.00% fragmented, 0.00% compressed clusters
Image end offset: 1376256" ]
    [ "$stderr" = "Leaked cluster 5 refcount=1 reference=0
Repairing cluster 5 refcount=1 reference=0" ]
    ok "$CAIRN_IMG" check disk.qcow2
}

@test "check -r leaks leaves errors, and -r all mends them" {
    poke disk.qcow2 0x2000a 0000
    fails 2 "$CAIRN_IMG" check -r leaks disk.qcow2
    run "$CAIRN_IMG" check --repair=all disk.qcow2
    [ "$status" = 0 ]
    says "Repairing cluster 5 refcount=0 reference=1"
    says "0 leaked clusters"
    says "1 corruptions"
    ok "$CAIRN_IMG" check disk.qcow2
    ok "$CAIRN_IMG" compare -f raw -F qcow2 disk.raw disk.qcow2
}

@test "check -r all makes a new refcount structure" {
    poke disk.qcow2 0x10000 0000000000020200
    fails 1 "$CAIRN_IMG" check disk.qcow2
    fails 1 "$CAIRN_IMG" check -r leaks disk.qcow2
    says "need to be rebuilt"
    run "$CAIRN_IMG" check -r all disk.qcow2
    [ "$status" = 0 ]
    says "Rebuilding refcount structure"
    ok "$CAIRN_IMG" check disk.qcow2
    ok "$CAIRN_IMG" compare -f raw -F qcow2 disk.raw disk.qcow2
}

@test "check -r all tells what it could not mend" {
    poke disk.qcow2 0x40000 8000001000050000
    run --separate-stderr "$CAIRN_IMG" check -r all --output=json disk.qcow2
    [ "$status" = 2 ]
    [ "$output" = '{
    "image-end-offset": 1376256,
    "total-clusters": 16,
    "corruptions": 1,
    "corruptions-fixed": 1,
    "check-errors": 0,
    "leaks-fixed": 1,
    "allocated-clusters": 16,
    "filename": "disk.qcow2",
    "format": "qcow2",
    "fragmented-clusters": 1
}' ]
}

@test "check -r -q says what is mended on standard error only" {
    poke disk.qcow2 0x40000 0000000000000000
    run --separate-stderr "$CAIRN_IMG" check -q -r all disk.qcow2
    [ "$status" = 0 ]
    [ "$output" = "" ]
    [[ $stderr == *"Repairing cluster 5"* ]]
}

@test "a corrupt image opens for reading only, and check -r all clears the mark" {
    poke disk.qcow2 72 0000000000000002
    ok "$CAIRN_IMG" compare -f raw -F qcow2 disk.raw disk.qcow2
    fails 1 "$CAIRN_IMG" convert -n -O qcow2 disk.raw disk.qcow2
    says "Image is corrupt; cannot be opened read/write"
    ok "$CAIRN_IMG" check -r all disk.qcow2
    ok "$CAIRN_IMG" convert -n -O qcow2 disk.raw disk.qcow2
}

@test "opening a dirty image for writing repairs it" {
    poke disk.qcow2 72 0000000000000001
    poke disk.qcow2 0x2000a 0000
    ok "$CAIRN_IMG" info disk.qcow2
    ok "$CAIRN_IMG" convert -n -O qcow2 disk.raw disk.qcow2
    ok "$CAIRN_IMG" check disk.qcow2
    ok "$CAIRN_IMG" compare -f raw -F qcow2 disk.raw disk.qcow2
    [ "$(od -An -tx1 -j72 -N8 disk.qcow2)" = " 00 00 00 00 00 00 00 00" ]
}
