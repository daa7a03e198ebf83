#!/usr/bin/env bats
# Commit and rebase, ours and qemu-img's, over the same chains.
load ../bats/helper

# make_chain MIDDLE-OPTIONS TOP-OPTIONS: base <- middle <- top, other; want.raw is what top reads as.
make_chain() {
    qemu-img create -q -f qcow2 base.qcow2 4M
    qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 3M 100k' base.qcow2
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o "$1" middle.qcow2 6M
    qemu-io -c 'write -q -P 3 512k 1M' -c 'write -q -z 3M 64k' -c 'write -q -c -P 4 5M 64k' middle.qcow2
    qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 -o "$2" top.qcow2 8M
    qemu-io -c 'write -q -P 5 1M 64k' -c 'write -q -z 0 64k' -c 'discard -q 640k 128k' -c 'write -q -P 6 7M 64k' top.qcow2
    qemu-img create -q -f qcow2 other.qcow2 2M
    qemu-io -c 'write -q -P 3 512k 700k' other.qcow2
    qemu-img convert -O raw top.qcow2 want.raw
}

# Sound, and what it should be, to qemu-img.
agree() {
    local image
    for image; do
        ok qemu-img check -q "$image"
        ok qemu-img compare -q -f raw -F qcow2 want.raw "$image"
    done
}

each_shape() {
    local middle top
    for middle in cluster_size=64k cluster_size=4k compat=0.10; do
        for top in cluster_size=64k cluster_size=512 compat=0.10,cluster_size=2M; do
            make_chain "$middle" "$top"
            "$@"
        done
    done
}

commit_all_ways() {
    ok "$CAIRN_IMG" commit top.qcow2
    agree top.qcow2 middle.qcow2
    ok "$CAIRN_IMG" commit -b base.qcow2 middle.qcow2
    agree top.qcow2 middle.qcow2 base.qcow2
    qemu-io -c 'write -q -P 9 1M 1M' top.qcow2
    qemu-img convert -O raw top.qcow2 want.raw
    ok qemu-img commit -q top.qcow2
    ok "$CAIRN_IMG" compare -q -f raw want.raw middle.qcow2
}

rebase_all_ways() {
    ok "$CAIRN_IMG" rebase -b other.qcow2 -B qcow2 top.qcow2
    agree top.qcow2
    ok "$CAIRN_IMG" rebase -b base.qcow2 -F qcow2 top.qcow2
    agree top.qcow2
    ok qemu-img rebase -b other.qcow2 -F qcow2 top.qcow2
    ok "$CAIRN_IMG" rebase -c -b '' top.qcow2
    agree top.qcow2
}

@test "commit" {
    require qemu-img qemu-io
    each_shape commit_all_ways
}

@test "rebase" {
    require qemu-img qemu-io
    each_shape rebase_all_ways
}
