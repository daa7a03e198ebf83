load ../helper
load lock

@test "create makes a sparse raw image and says so" {
    ok "$CAIRN_IMG" create disk.raw 1M
    [ "$output" = "Formatting 'disk.raw', fmt=raw size=1048576" ]
    [ "$(stat -c %s disk.raw)" = 1048576 ]
    [ "$(stat -c %b disk.raw)" -le 8 ]
}

@test "create -q is silent" {
    ok "$CAIRN_IMG" create -q disk.raw 1M
    [ -z "$output" ]
}

@test "create takes sizes with every suffix, fractions and hexadecimal" {
    local row
    for row in 65536K:67108864 1536b:1536 3g:3221225472 1.5M:1572864 0x1000:4096 1T:1099511627776; do
        ok "$CAIRN_IMG" create -q disk.raw "${row%:*}"
        [ "$(stat -c %s disk.raw)" = "${row#*:}" ]
    done
}

@test "create refuses what is not a size" {
    local size
    for size in abc -- -1 1.5 8E 99999999999999999999 1kk ''; do
        fails 1 "$CAIRN_IMG" create -q disk.raw -- "$size"
        [ ! -e disk.raw ]
    done
    fails 1 "$CAIRN_IMG" create disk.raw abc
    says "'abc' is not a size"
}

@test "create without a size is refused" {
    fails 1 "$CAIRN_IMG" create disk.raw
    says "disk.raw: Image creation needs a size parameter"
}

@test "create -o size= is the size, once" {
    ok "$CAIRN_IMG" create -q -o size=5M disk.raw
    [ "$(stat -c %s disk.raw)" = 5242880 ]
    fails 1 "$CAIRN_IMG" create -o size=5M disk.raw 6M
    says "The image size must be specified only once"
}

@test "create --options and -o add up and the last of equal ones wins" {
    ok "$CAIRN_IMG" create -q --options size=1M -o preallocation=off,size=3M -o size=2M disk.raw
    [ "$(stat -c %s disk.raw)" = 2097152 ]
}

@test "create -o preallocation=falloc reserves the space" {
    ok "$CAIRN_IMG" create -q -o preallocation=falloc disk.raw 1M
    [ "$(stat -c %b disk.raw)" -ge 2048 ]
}

@test "create -o help lists options of the format" {
    ok "$CAIRN_IMG" create -f raw -o help
    says "Supported raw options:"
    says "preallocation=<off|falloc|full>"
}

@test "create names the option and the value that are wrong" {
    fails 1 "$CAIRN_IMG" create -o preallocation=ful disk.raw 1M
    says "did you mean 'full'?"
    fails 1 "$CAIRN_IMG" create -o foo=1 disk.raw 1M
    says "'foo'"
    [ ! -e disk.raw ]
}

@test "create refuses an unknown format and hints at a near one" {
    fails 1 "$CAIRN_IMG" create -f rwa disk.raw 1M
    says "Unknown file format 'rwa'; did you mean 'raw'?"
}

@test "create takes options after the names, and the last -f wins" {
    ok "$CAIRN_IMG" create disk.raw 1M -q -f nothing --format=raw
    [ -e disk.raw ]
}

@test "create says where a folder is missing" {
    fails 1 "$CAIRN_IMG" create nowhere/disk.raw 1M
    says "'nowhere/disk.raw': No such file or directory"
}

@test "create accepts a secret and refuses other objects" {
    ok "$CAIRN_IMG" create -q --object secret,id=a,data=b disk.raw 1M
    fails 1 "$CAIRN_IMG" create --object iothread,id=a disk.raw 1M
    says "secret and throttle-group, not 'iothread'"
    fails 1 "$CAIRN_IMG" create --object secret,data=b disk.raw 1M
    says "lacks id=ID"
    fails 1 "$CAIRN_IMG" create --object secret,id=b disk.raw 1M
    says "neither data=TEXT nor file=FILE"
}

@test "create replaces an existing file and keeps its mode" {
    printf old >disk.raw
    chmod 600 disk.raw
    ok "$CAIRN_IMG" create -q disk.raw 1M
    [ "$(stat -c %s:%a disk.raw)" = 1048576:600 ]
}

@test "create of an image that another process uses is refused" {
    truncate -s 1M disk.raw
    hold_image disk.raw
    fails 1 "$CAIRN_IMG" create disk.raw 2M
    says "disk.raw"
    says "lock"
    [ "$(stat -c %s disk.raw)" = 1048576 ]
}

# ---- qcow2 ----

@test "create prints the options of a qcow2 image as qemu-img does" {
    ok "$CAIRN_IMG" create -f qcow2 disk.qcow2 10M
    [ "$output" = "Formatting 'disk.qcow2', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib size=10485760 lazy_refcounts=off refcount_bits=16" ]
    ok "$CAIRN_IMG" create -f qcow2 -o cluster_size=4k,preallocation=metadata,compat=1.1 disk.qcow2 64M
    [ "$output" = "Formatting 'disk.qcow2', fmt=qcow2 cluster_size=4096 extended_l2=off preallocation=metadata compression_type=zlib size=67108864 compat=1.1 lazy_refcounts=off refcount_bits=16" ]
}

@test "create -b takes the size from the backing file; the format in three spellings" {
    "$CAIRN_IMG" create -q -f qcow2 a,b.qcow2 10M
    local spelling
    for spelling in -B -F --backing-format; do
        ok "$CAIRN_IMG" create -f qcow2 -b a,b.qcow2 $spelling qcow2 top.qcow2
        [ "$output" = "Formatting 'top.qcow2', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib size=10485760 backing_file=a,,b.qcow2 backing_fmt=qcow2 lazy_refcounts=off refcount_bits=16" ]
    done
    ok "$CAIRN_IMG" create -q -f qcow2 -o backing_file=a,,b.qcow2,backing_fmt=qcow2 top.qcow2 20M
    ok "$CAIRN_IMG" info top.qcow2
    says "virtual size: 20 MiB"
    says "backing file: a,b.qcow2"
}

@test "create -b without a format is refused" {
    "$CAIRN_IMG" create -q -f qcow2 base.qcow2 10M
    fails 1 "$CAIRN_IMG" create -f qcow2 -b base.qcow2 top.qcow2
    says "Backing file specified without backing format"
    fails 1 "$CAIRN_IMG" create -f qcow2 -o backing_file=base.qcow2 top.qcow2
    says "Backing file specified without backing format"
    fails 1 "$CAIRN_IMG" create -f qcow2 -b '' -F qcow2 top.qcow2 1M
    says "Expected backing file name, got empty string"
    [ ! -e top.qcow2 ]
}

@test "create -b of a missing file is refused, and -u does not look" {
    fails 1 "$CAIRN_IMG" create -f qcow2 -b gone.raw -F raw top.qcow2
    says "gone.raw"
    says "No such file or directory"
    fails 1 "$CAIRN_IMG" create -u -f qcow2 -b gone.raw -F raw top.qcow2
    says "image creation needs a size"
    ok "$CAIRN_IMG" create -u -q -f qcow2 -b gone.raw -F raw top.qcow2 3M
    ok "$CAIRN_IMG" create --backing-unsafe -q -f qcow2 --backing gone.raw -F raw top.qcow2 3M
}

@test "create -f qcow2 -o help lists words and sizes" {
    ok "$CAIRN_IMG" create -f qcow2 -o help
    says "Supported qcow2 options:"
    says "cluster_size=<size>"
    grep -E '^  compression_type=<.*zstd.*>' <<<"$output"
}

@test "create names the image that it could not make" {
    fails 1 "$CAIRN_IMG" create -f qcow2 -o cluster_size=3 disk.qcow2 1M
    says "cairn-img: disk.qcow2: Cluster size must be a power of two"
    fails 1 "$CAIRN_IMG" create '' 1M
    says "name of the new image is empty"
}
