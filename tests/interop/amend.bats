#!/usr/bin/env bats
# Images that one has amended are sound, and the same, to the other.
load ../bats/helper

make_image() {
    qemu-img create -q -f qcow2 -o "$1" base.qcow2 4M
    qemu-io -c 'write -q -P 1 0 4M' base.qcow2
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o "$1" a.qcow2 6M
    qemu-io -c 'write -q -P 2 64k 1M' -c 'write -q -z 2M 200k' -c 'write -q -c -P 3 4M 2M' \
        -c 'write -q -z 5M 64k' a.qcow2
    qemu-img convert -O raw a.qcow2 want.raw
}

agree() {
    ok qemu-img check -q a.qcow2
    ok qemu-img compare -q -f raw -F qcow2 want.raw a.qcow2
    ok "$CAIRN_IMG" check -q a.qcow2
}

@test "every change, by turns" {
    require qemu-img qemu-io
    local shape change
    for shape in cluster_size=64k cluster_size=512 compat=0.10,cluster_size=4k refcount_bits=64,cluster_size=2M; do
        make_image "$shape"
        for change in compat=1.1 refcount_bits=8 lazy_refcounts=on refcount_bits=64 \
            refcount_bits=16,lazy_refcounts=off,compat=0.10 compat=1.1; do
            ok "$CAIRN_IMG" amend -o $change a.qcow2
            agree
            qemu-io -c 'write -q -P 4 1M 100k' a.qcow2
            qemu-img convert -O raw a.qcow2 want.raw
            ok qemu-img amend -o $change a.qcow2
            agree
        done
    done
}
