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
    says "secret only, not 'iothread'"
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
