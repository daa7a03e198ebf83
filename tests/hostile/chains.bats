#!/usr/bin/env bats
# Backing chains that never end, or nearly so.
load ../bats/helper

overlay() {
    "$QEMU_IMG" create -q -u -f qcow2 -o cluster_size=4k -b "$2" -F qcow2 "$1" 1M
}

# refused COMMAND...: fails with one message, within a second or so.
refused() {
    run prlimit --as=1073741824 --cpu=2 timeout 10 "$CAIRN_IMG" "$@"
    [ "$status" = 1 ] && [ ${#lines[@]} -le 3 ] || { echo "$status: $output"; return 1; }
}

@test "an image that is its own backing file" {
    require qemu-img prlimit
    overlay b.qcow2 a.qcow2
    mv b.qcow2 a.qcow2
    refused convert -O raw a.qcow2 out
    refused map a.qcow2
    refused info --backing-chain a.qcow2
    [ ! -e out ]
}

@test "two images that are each other's backing file" {
    require qemu-img prlimit
    overlay a.qcow2 b.qcow2
    overlay b.qcow2 ./a.qcow2
    refused convert -O raw a.qcow2 out
    refused info --backing-chain a.qcow2
}

@test "a loop through a symbolic link" {
    require qemu-img prlimit
    ln -s a.qcow2 link.qcow2
    overlay a.qcow2 link.qcow2
    refused map a.qcow2
}

# chain N: 0.qcow2 .. N.qcow2, each the backing file of the next.
chain() {
    "$QEMU_IMG" create -q -f qcow2 -o cluster_size=512 0.qcow2 64k
    "$QEMU_IMG" create -q -u -f qcow2 -o cluster_size=512 -b 000.qcow2 -F qcow2 template 64k
    for i in $(seq "$1"); do
        LC_ALL=C sed "s/000\.qcow2/$(printf %03d $((i - 1))).qcow2/" template >"$(printf %03d "$i").qcow2"
    done
    mv 0.qcow2 000.qcow2
}

@test "150 backing files are read" {
    require qemu-img
    chain 150
    ok "$CAIRN_IMG" convert -O raw 150.qcow2 out.raw
    [ "$(stat -c %s out.raw)" = 65536 ]
}

@test "300 backing files are refused" {
    require qemu-img prlimit
    chain 300
    refused convert -O raw 300.qcow2 out
    says "200"
}
