#!/usr/bin/env bats
# No command changes an image as a whole on a guess: a guest that writes a qcow2 header into its raw disk
# must not have its host write to what that header names.
load ../helper

# disk.raw: a guest's disk with the head of a qcow2 image over a backing file.
setup() {
    cd "$BATS_TEST_TMPDIR"
    head -c 1M /dev/urandom >secret.raw
    "$CAIRN_IMG" create -q -f qcow2 -b secret.raw -B raw planted.qcow2 1M
    truncate -s 4M disk.raw
    dd if=planted.qcow2 of=disk.raw bs=512 count=1 conv=notrunc status=none
    head -c 1M /dev/urandom | dd of=disk.raw bs=1M seek=2 conv=notrunc status=none
    cp disk.raw before.raw
    cp secret.raw secret.before
}

@test "a planted header without tables" {
    local command
    for command in "amend -o compat=0.10" "rebase -b ''" "rebase -u" commit "commit -d"; do
        fails 1 eval "$CAIRN_IMG $command disk.raw"
        cmp disk.raw before.raw
        cmp secret.raw secret.before
    done
}

@test "a whole planted image on a disk that boots" {
    dd if=planted.qcow2 of=disk.raw conv=notrunc status=none
    printf '\x55\xaa' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none
    cp disk.raw before.raw
    local command
    for command in "amend -o compat=0.10" "rebase -b ''" "rebase -u" commit "commit -d"; do
        fails 1 eval "$CAIRN_IMG $command disk.raw"
        says '-f raw'
        cmp disk.raw before.raw
        cmp secret.raw secret.before
    done
}
