#!/usr/bin/env bats
# cairn-img commit: what goes where, what is emptied, every option, mistakes.
load ../helper

# base (1M, raw data) <- middle (2M) <- top (3M)
setup() {
    cd "$BATS_TEST_TMPDIR"
    head -c 1M /dev/urandom >base.raw
    "$CAIRN_IMG" convert -O qcow2 base.raw base.qcow2
    "$CAIRN_IMG" create -q -f qcow2 -b base.qcow2 -B qcow2 middle.qcow2 2M
    "$CAIRN_IMG" create -q -f qcow2 -b middle.qcow2 -B qcow2 top.qcow2 3M
    fill middle.qcow2 300k 1
    fill top.qcow2 2500k 2
    "$CAIRN_IMG" convert -O raw top.qcow2 want.raw
    "$CAIRN_IMG" convert -O raw middle.qcow2 middle.raw
}

# fill IMAGE OFFSET NUMBER: 100000 bytes of a pattern, through a raw copy.
fill() {
    "$CAIRN_IMG" convert -O raw "$1" copy.raw
    head -c 100000 /dev/zero | tr '\0' "$3" | dd of=copy.raw bs=1k seek="${2%k}" conv=notrunc status=none
    local backing
    backing=$("$CAIRN_IMG" info --output=json "$1" | sed -n 's/.*"backing-filename": "\(.*\)".*/\1/p')
    "$CAIRN_IMG" convert -O qcow2 -b "$backing" -F "${backing##*.}" copy.raw "$1"
}

reads_as() {
    ok "$CAIRN_IMG" compare -f raw -F qcow2 "$1" "$2"
}

@test "into the backing file, which grows, and the overlay is empty then" {
    ok "$CAIRN_IMG" commit -f qcow2 top.qcow2
    [ "$output" = "Image committed." ]
    reads_as want.raw top.qcow2
    reads_as want.raw middle.qcow2
    ok "$CAIRN_IMG" info middle.qcow2
    says 'virtual size: 3 MiB'
    [ "$(stat -c %s top.qcow2)" -le 262144 ]
    [ "$(stat -c %s middle.qcow2)" -gt 262144 ]
}

@test "-d leaves the overlay as it is" {
    cp top.qcow2 before.qcow2
    ok "$CAIRN_IMG" commit -d -q top.qcow2
    [ -z "$output" ]
    cmp top.qcow2 before.qcow2
    reads_as want.raw middle.qcow2
    ok "$CAIRN_IMG" commit --drop --quiet top.qcow2
}

@test "-b commits everything above an image of the chain" {
    cp top.qcow2 before.qcow2
    ok "$CAIRN_IMG" commit -b base.qcow2 top.qcow2
    cmp top.qcow2 before.qcow2
    reads_as want.raw base.qcow2
    reads_as want.raw top.qcow2
    ok "$CAIRN_IMG" commit --base "$PWD/./middle.qcow2" top.qcow2
    fails 1 "$CAIRN_IMG" commit -b other.qcow2 top.qcow2
    says "Did not find 'other.qcow2' in the backing chain of 'top.qcow2'"
}

@test "into a raw backing file" {
    "$CAIRN_IMG" create -q -f qcow2 -b base.raw -B raw over.qcow2 2M
    fill over.qcow2 900k 3
    "$CAIRN_IMG" convert -O raw over.qcow2 want.raw
    ok "$CAIRN_IMG" commit over.qcow2
    cmp want.raw base.raw
}

@test "options in both spellings" {
    ok "$CAIRN_IMG" commit -f qcow2 -t none -r 1G -p top.qcow2
    says '(100.00/100%)'
    ok "$CAIRN_IMG" commit --format qcow2 --cache directsync --rate-limit 1G --progress=none top.qcow2
    ok "$CAIRN_IMG" commit --image-opts driver=qcow2,file.filename=top.qcow2
    ok "$CAIRN_IMG" commit --object secret,id=s,data=x top.qcow2
}

@test "mistakes" {
    fails 1 "$CAIRN_IMG" commit base.qcow2
    says 'Image does not have a backing file'
    fails 1 "$CAIRN_IMG" commit -f raw base.raw
    says 'Image does not have a backing file'
    fails 1 "$CAIRN_IMG" commit none.qcow2
    says "Could not open 'none.qcow2'"
    fails 1 "$CAIRN_IMG" commit
    fails 1 "$CAIRN_IMG" commit top.qcow2 middle.qcow2
    fails 1 "$CAIRN_IMG" commit -r fast top.qcow2
    fails 1 "$CAIRN_IMG" commit -t wrong top.qcow2
    says "'wrong'"
    reads_as want.raw top.qcow2
}

@test "a backing file that is in use is left alone" {
    require qemu-io
    exec 5> >(qemu-io -f qcow2 middle.qcow2 >/dev/null)
    for _ in {1..50}; do
        "$CAIRN_IMG" info middle.qcow2 >/dev/null 2>&1 || break
        sleep 0.1
    done
    fails 1 "$CAIRN_IMG" commit top.qcow2
    says 'lock'
    exec 5>&-
    wait
    reads_as want.raw top.qcow2
    reads_as middle.raw middle.qcow2
}

@test "a guessed format that may be a raw disk's is not written to" {
    printf '\x55\xaa' | dd of=top.qcow2 bs=1 seek=510 conv=notrunc status=none
    cp top.qcow2 before.qcow2
    fails 1 "$CAIRN_IMG" commit top.qcow2
    says '-f qcow2'
    cmp top.qcow2 before.qcow2
    reads_as middle.raw middle.qcow2
    ok "$CAIRN_IMG" commit -f qcow2 top.qcow2
}
