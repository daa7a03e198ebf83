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

@test "images with snapshots" {
    require qemu-img qemu-io
    local shape change
    for shape in cluster_size=64k compat=0.10,cluster_size=4k; do
        qemu-img create -q -f qcow2 -o "$shape" a.qcow2 6M
        qemu-io -c 'write -q -P 1 0 3M' a.qcow2
        qemu-img snapshot -c one a.qcow2
        qemu-io -c 'write -q -P 2 1M 1M' -c 'write -q -z 2M 1M' a.qcow2
        qemu-img convert -O raw a.qcow2 want.raw
        qemu-img convert -O raw -l one a.qcow2 one.raw
        for change in compat=1.1 refcount_bits=64 refcount_bits=2 refcount_bits=16,compat=0.10 compat=1.1; do
            ok "$CAIRN_IMG" amend -o $change a.qcow2
            agree
            ok qemu-img convert -O raw -l one a.qcow2 back.raw
            cmp one.raw back.raw
        done
    done
    fails 1 "$CAIRN_IMG" amend -o refcount_bits=1 a.qcow2
    says 'has a refcount of 2'
    qemu-img snapshot -c two a.qcow2
    qemu-img resize -q a.qcow2 7M
    fails 1 "$CAIRN_IMG" amend -o compat=0.10 a.qcow2
    says 'Internal snapshots prevent downgrade of image'
}

@test "commit empties an overlay that has snapshots" {
    require qemu-img qemu-io
    make_image cluster_size=64k
    qemu-img snapshot -c one a.qcow2
    qemu-img convert -O raw -l one a.qcow2 one.raw
    qemu-io -c 'write -q -P 7 2M 1M' a.qcow2
    qemu-img convert -O raw a.qcow2 want.raw
    ok "$CAIRN_IMG" commit -q a.qcow2
    agree
    ok qemu-img snapshot -d one a.qcow2
    agree
    [ "$(qemu-img map --output=json a.qcow2 | grep -c '"depth": 0, "present": true')" = 0 ]
}
