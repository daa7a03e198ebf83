#!/usr/bin/env bats
# cairn-img rebase: what is copied, what the image says afterwards, every option, mistakes.
load ../helper

# base <- over, and other, which shares half of base.
setup() {
    cd "$BATS_TEST_TMPDIR"
    head -c 2M /dev/urandom >base.raw
    { head -c 1M base.raw && head -c 500k /dev/urandom; } >other.raw
    "$CAIRN_IMG" convert -O qcow2 base.raw base.qcow2
    "$CAIRN_IMG" convert -O qcow2 other.raw other.qcow2
    { head -c 700k base.raw && head -c 100k /dev/zero && tail -c +819201 base.raw && head -c 1M /dev/zero; } >want.raw
    "$CAIRN_IMG" convert -O qcow2 -b base.qcow2 -F qcow2 want.raw over.qcow2
}

reads_as_before() {
    ok "$CAIRN_IMG" compare -f raw -F qcow2 want.raw over.qcow2
}

field() {
    "$CAIRN_IMG" info --output=json -U over.qcow2 | sed -n "s/.*\"$1\": \"\(.*\)\".*/\1/p"
}

@test "onto an image that differs: only the differences are copied" {
    ok "$CAIRN_IMG" rebase -f qcow2 -b other.qcow2 -B qcow2 over.qcow2
    [ -z "$output" ]
    reads_as_before
    [ "$(field backing-filename)" = other.qcow2 ]
    [ "$(field backing-filename-format)" = qcow2 ]
    rm base.qcow2
    reads_as_before
    ok "$CAIRN_IMG" map --output=json over.qcow2
    says '"start": 0, "length": 65536, "depth": 1' || says '"depth": 1'
    [ "$(stat -c %s over.qcow2)" -lt 1900000 ]
}

@test "an empty name makes it independent" {
    ok "$CAIRN_IMG" rebase -b '' over.qcow2
    rm base.qcow2
    reads_as_before
    [ -z "$(field backing-filename)" ]
}

@test "-c compresses what is copied" {
    tr '\0-\377' 'a-d' <base.raw >text.raw
    "$CAIRN_IMG" convert -O qcow2 text.raw base.qcow2
    "$CAIRN_IMG" convert -O raw over.qcow2 want.raw
    ok "$CAIRN_IMG" rebase -c -b '' over.qcow2
    reads_as_before
    ok "$CAIRN_IMG" map --output=json over.qcow2
    says '"compressed": true'
    ok "$CAIRN_IMG" rebase --compress --backing '' over.qcow2
}

@test "-u changes the name alone, and opens nothing" {
    cp over.qcow2 before.qcow2
    ok "$CAIRN_IMG" rebase -u -b /nowhere/base.qcow2 -F qcow2 over.qcow2
    [ "$(field backing-filename)" = /nowhere/base.qcow2 ]
    ok "$CAIRN_IMG" rebase --backing-unsafe --backing base.qcow2 --backing-format qcow2 over.qcow2
    cmp over.qcow2 before.qcow2
    ok "$CAIRN_IMG" rebase -u over.qcow2
    [ -z "$(field backing-filename)" ]
}

@test "options in both spellings" {
    ok "$CAIRN_IMG" rebase -f qcow2 -t none -T writethrough -U -p -b other.qcow2 -F qcow2 over.qcow2
    says '(100.00/100%)'
    ok "$CAIRN_IMG" rebase --format qcow2 --cache none --backing-cache none --force-share --quiet \
        --progress=none --backing base.qcow2 --backing-format qcow2 over.qcow2
    ok "$CAIRN_IMG" rebase -q -b base.raw -B raw --image-opts driver=qcow2,file.filename=over.qcow2
    ok "$CAIRN_IMG" rebase --object secret,id=s,data=x -b base.qcow2 -B qcow2 over.qcow2
    reads_as_before
}

@test "a relative name counts from the image's folder" {
    mkdir sub
    mv over.qcow2 sub/
    "$CAIRN_IMG" rebase -u -b ../base.qcow2 -B qcow2 sub/over.qcow2
    ok "$CAIRN_IMG" rebase -b ../other.qcow2 -B qcow2 sub/over.qcow2
    ok "$CAIRN_IMG" compare -f raw -F qcow2 want.raw sub/over.qcow2
}

@test "mistakes leave everything as it is" {
    cp over.qcow2 before.qcow2
    fails 1 "$CAIRN_IMG" rebase over.qcow2
    says 'Must specify backing file (-b) or use unsafe mode (-u)'
    fails 1 "$CAIRN_IMG" rebase -b other.qcow2 over.qcow2
    says 'backing format must be specified'
    fails 1 "$CAIRN_IMG" rebase -b other.qcow2 -B nothing over.qcow2
    says "Invalid format name: 'nothing'"
    fails 1 "$CAIRN_IMG" rebase -b none.qcow2 -B qcow2 over.qcow2
    says "Could not open new backing file 'none.qcow2'"
    fails 1 "$CAIRN_IMG" rebase -b ./over.qcow2 -B qcow2 over.qcow2
    says 'cannot be its own backing file'
    fails 1 "$CAIRN_IMG" rebase -u -b "$(printf '%01100d' 0)" -B raw over.qcow2
    says 'too long'
    fails 1 "$CAIRN_IMG" rebase -f raw -b other.qcow2 -B qcow2 base.raw
    fails 1 "$CAIRN_IMG" rebase
    cmp over.qcow2 before.qcow2
}

@test "a guessed format that may be a raw disk's is not written to" {
    printf '\x55\xaa' | dd of=over.qcow2 bs=1 seek=510 conv=notrunc status=none
    cp over.qcow2 before.qcow2
    fails 1 "$CAIRN_IMG" rebase -b '' over.qcow2
    says '-f qcow2'
    cmp over.qcow2 before.qcow2
    ok "$CAIRN_IMG" rebase -f qcow2 -b '' over.qcow2
}
