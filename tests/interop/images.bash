# Option lists and images that the interop tests share. Source it after the helper.

: "${QEMU_IO:=qemu-io}"
BLK_IO=$abs_top_builddir/tests/tools/blk-io

# Every qcow2 option list that both tools know, one a line.
option_lists() {
    local cluster compat bits
    for cluster in 512 4k 64k 2M; do
        echo "cluster_size=$cluster,compat=0.10"
        for bits in 1 2 4 8 16 32 64; do echo "cluster_size=$cluster,refcount_bits=$bits"; done
        for compat in metadata falloc full; do echo "cluster_size=$cluster,preallocation=$compat"; done
        echo "cluster_size=$cluster,compression_type=zstd"
    done
    echo "compat=v2"
    echo "compat=v3"
    echo "compat=1.1,lazy_refcounts=on"
}

# The lists that matter for data, without preallocation.
data_option_lists() {
    option_lists | grep -v preallocation
}

# pattern FILE: a 3 MiB raw image with data, text, zeroes and holes.
pattern() {
    truncate -s 3M "$1"
    seq 100000 | head -c 400000 | dd of="$1" conv=notrunc status=none bs=64k seek=1
    openssl enc -aes-128-ctr -K 0 -iv 0 -in /dev/zero 2>/dev/null | head -c 300000 |
        dd of="$1" conv=notrunc status=none bs=4k seek=300
    printf x | dd of="$1" conv=notrunc status=none bs=1 seek=3145727
}

# clean FILE: qemu-img check finds neither errors nor leaks.
clean() {
    "$QEMU_IMG" check -q -f qcow2 "$1" || { echo "qemu-img check $1"; "$QEMU_IMG" check "$1"; return 1; }
}

# same FORMAT-A A FORMAT-B B: qemu-img finds both equal.
same() {
    "$QEMU_IMG" compare -q -f "$1" -F "$3" "$2" "$4" || { echo "$2 and $4 differ"; return 1; }
}

# A map on stdin without the key that qemu-img 7 does not know.
plain_map() {
    sed 's/, "compressed": [a-z]*//'
}

# The stdin with what depends on the file system, the time or the version taken out.
masked() {
    sed -E 's/"actual-size": [0-9]+/"actual-size": N/; s/disk size: .*/disk size: N/'
}
