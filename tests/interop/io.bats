#!/usr/bin/env bats
# The same scripts through cairn-io and qemu-io: the same lines, and images with the same contents.
load ../bats/helper

masked() {
    sed -E 's/; [0-9:.]+( sec)? \([0-9.inf]+ [A-Za-z]+\/sec and [0-9.inf]+ ops\/sec\)/; TIME/
            s/^([0-9]+,1),.*/\1,TIME/; s/(cairn|qemu)-io: /io: /'
}

# same CREATE-OPTIONS COMMAND...: on two images of the same kind.
same() {
    local options=$1 command commands=() status_ours=0 status_theirs=0
    shift
    for command; do commands+=(-c "$command"); done
    "$QEMU_IMG" create -q -f qcow2 $options ours.qcow2 8M
    cp ours.qcow2 theirs.qcow2
    "$CAIRN_IO" "${commands[@]}" ours.qcow2 >ours 2>&1 || status_ours=$?
    "$QEMU_IO" "${commands[@]}" theirs.qcow2 >theirs 2>&1 || status_theirs=$?
    diff -u <(masked <theirs) <(masked <ours)
    [ "$status_ours" = "$status_theirs" ]
    ok "$QEMU_IMG" compare ours.qcow2 theirs.qcow2
    ok "$QEMU_IMG" check ours.qcow2
    ok "$QEMU_IMG" compare -f qcow2 -F qcow2 theirs.qcow2 ours.qcow2
    "$CAIRN_IO" -r -c map ours.qcow2 >ours
    "$QEMU_IO" -r -c map ours.qcow2 >theirs
    diff theirs ours
}

@test "writes, zeroes and discards" {
    require qemu-img qemu-io
    same "" 'write -P 1 0 64k' 'write -P 2 100k 3k' 'write -z 64k 128k' 'writev -P 3 1M 4k 8k 512' \
        'discard 0 64k' 'read -P 3 1M 12800' 'read -P 0 64k 36k' 'write 8M 1' 'read 9M 1k' 'length' \
        'alloc 1M' 'write -P 4 8191k 1k' flush
}

@test "small clusters" {
    require qemu-img qemu-io
    same "-o cluster_size=512" 'write -P 1 100 3000' 'write -z 512 1024' 'discard 2k 1k' 'read -v 90 40' \
        'write -zu 0 100k' 'read -P 0 0 100k'
}

@test "compressed clusters" {
    require qemu-img qemu-io
    same "" 'write -c -P 7 0 64k' 'write -c -P 8 64k 128k' 'read -P 7 0 64k' 'write -P 9 10k 5k' \
        'read -P 8 64k 128k' 'write -c 0 1k'
}

@test "version 2" {
    require qemu-img qemu-io
    same "-o compat=0.10" 'write -P 1 0 64k' 'write -z 64k 64k' 'write -P 2 1000 1000' 'read -v 990 20' info
}

@test "asynchronous requests, waited for" {
    require qemu-img qemu-io
    same "" 'aio_write -P 1 0 64k' aio_flush 'aio_write -P 2 4k 4k' aio_flush 'aio_read -P 2 4k 4k' aio_flush \
        'aio_read 8M 1' aio_flush 'aio_read 0 x'
}

@test "growing" {
    require qemu-img qemu-io
    same "" 'write -P 1 8191k 1k' 'truncate 12M' length 'write -P 2 11M 1M' 'read -P 0 8M 3M' 'truncate 13M' \
        'read -P 0 12M 1M' map
}

@test "errors from the same rules of blkdebug" {
    require qemu-img qemu-io
    local event image
    "$QEMU_IMG" create -q -f qcow2 clean.qcow2 8M
    for event in write_aio read_aio cluster_alloc cow_write l2_load; do
        printf '[inject-error]\nevent = "%s"\nerrno = "28"\nonce = "on"\n' "$event" >rules
        for image in ours theirs; do cp clean.qcow2 $image.qcow2; done
        local words=(-c 'write -q -P 1 64k 10k' -c 'write -q -P 2 64k 10k' -c 'read -q -P 2 64k 10k')
        "$CAIRN_IO" "${words[@]}" blkdebug:rules:ours.qcow2 >ours 2>/dev/null || true
        "$QEMU_IO" "${words[@]}" blkdebug:rules:theirs.qcow2 >theirs 2>/dev/null || true
        diff -u --label "qemu-io: $event" theirs ours
        ok "$QEMU_IMG" compare ours.qcow2 theirs.qcow2
    done
}
