# New images appear whole or not at all.
load ../helper
load lock

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 8M /dev/urandom >disk.raw
}

# Nothing but the files that the test knows is in the folder.
only() {
    local found
    found=$(find . -mindepth 1 -maxdepth 1 ! -name '.out' ! -name '.err' -printf '%f\n' | sort | tr '\n' ' ')
    [ "$found" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ] || {
        echo "in the folder: $found"
        return 1
    }
}

# Starts a slow conversion to $1, stops it with the signal $2 and leaves its exit status in $status.
interrupt() {
    run timeout --foreground --preserve-status -s "$2" -k 20 0.5 \
        "$CAIRN_IMG" convert -r 1M -O qcow2 disk.raw "$1"
}

@test "SIGINT leaves nothing behind and exits with 130" {
    interrupt out.qcow2 INT
    [ "$status" = 130 ]
    only disk.raw
}

@test "SIGTERM leaves nothing behind and exits with 143" {
    interrupt out.qcow2 TERM
    [ "$status" = 143 ]
    only disk.raw
}

@test "kill -9 leaves no half-made file under the final name" {
    interrupt out.qcow2 KILL
    [ "$status" = 137 ]
    [ ! -e out.qcow2 ]
}

@test "an interrupted command leaves the old file as it was" {
    printf precious >out.qcow2
    interrupt out.qcow2 INT
    [ "$(cat out.qcow2)" = precious ]
    only disk.raw out.qcow2
}

@test "an interrupted command with a backing file leaves nothing behind" {
    "$CAIRN_IMG" create -q -f qcow2 base.qcow2 8M
    run timeout --foreground --preserve-status -s INT -k 20 0.5 \
        "$CAIRN_IMG" convert -r 1M -O qcow2 -b base.qcow2 -F qcow2 disk.raw out.qcow2
    [ "$status" = 130 ]
    only base.qcow2 disk.raw
}

@test "a source that cannot be read leaves nothing behind" {
    "$CAIRN_IMG" convert -O qcow2 disk.raw bad.qcow2
    truncate -s 4M bad.qcow2
    run "$CAIRN_IMG" convert bad.qcow2 out.raw
    [ "$status" = 1 ] || [ -s out.raw ]
    [ "$status" = 0 ] || only bad.qcow2 disk.raw
}

@test "a full disk leaves nothing behind and the message names the target" {
    [ -w /dev/shm ] || skip "/dev/shm is not writable"
    local small=$BATS_TEST_TMPDIR/small
    mkdir small
    mount -t tmpfs -o size=2M none "$small" 2>/dev/null || skip "mounting a small tmpfs needs root"
    run "$CAIRN_IMG" convert disk.raw "$small/out.raw"
    local left
    left=$(ls -A "$small")
    umount "$small"
    [ "$status" = 1 ]
    [ -z "$left" ]
    says "$small/out.raw"
    says "No space left on device"
}

@test "a replaced file keeps its mode, and its owner" {
    printf old >out.raw
    chmod 640 out.raw
    [ "$(id -u)" != 0 ] || chown 12345:54321 out.raw
    local before
    before=$(stat -c %a:%u:%g out.raw)
    ok "$CAIRN_IMG" convert disk.raw out.raw
    [ "$(stat -c %a:%u:%g out.raw)" = "$before" ]
    cmp disk.raw out.raw
}

@test "a new file has the mode that the umask says" {
    umask 027
    ok "$CAIRN_IMG" convert disk.raw out.raw
    [ "$(stat -c %a out.raw)" = 640 ]
}

@test "a symbolic link stays and the file it points to is replaced" {
    mkdir sub
    printf old >sub/real.raw
    ln -s sub/real.raw link.raw
    ok "$CAIRN_IMG" convert disk.raw link.raw
    [ -L link.raw ]
    cmp disk.raw sub/real.raw
    only disk.raw link.raw sub
}

@test "a dangling symbolic link gets its file" {
    ln -s real.raw link.raw
    ok "$CAIRN_IMG" convert disk.raw link.raw
    [ -L link.raw ]
    cmp disk.raw real.raw
}

@test "of hard links only the named one gets the new contents" {
    printf old >out.raw
    ln out.raw other
    ok "$CAIRN_IMG" convert disk.raw out.raw
    cmp disk.raw out.raw
    [ "$(cat other)" = old ]
}

@test "source and target may not be one file, by any name" {
    ln -s disk.raw link.raw
    ln disk.raw hard.raw
    local name
    for name in disk.raw ./disk.raw link.raw hard.raw; do
        fails 1 "$CAIRN_IMG" convert disk.raw "$name"
        says "'$name' is both source and target; name another target"
    done
    [ "$(stat -c %s disk.raw)" = 8388608 ]
}

@test "the target may not be a backing file of the source" {
    "$CAIRN_IMG" convert -O qcow2 disk.raw base.qcow2
    "$CAIRN_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
    fails 1 "$CAIRN_IMG" convert -O qcow2 top.qcow2 base.qcow2
    says "is both backing file of the source and target"
    ok "$CAIRN_IMG" compare disk.raw top.qcow2
}

@test "a target that another process uses is refused" {
    truncate -s 1M out.raw
    hold_image out.raw
    fails 1 "$CAIRN_IMG" convert disk.raw out.raw
    says "lock"
    [ "$(stat -c %s out.raw)" = 1048576 ]
}

@test "a read-only target is refused" {
    [ "$(id -u)" != 0 ] || skip "root may write to every file"
    printf old >out.raw
    chmod 400 out.raw
    fails 1 "$CAIRN_IMG" convert disk.raw out.raw
    says "Permission denied"
}

@test "a folder as target is refused" {
    mkdir out.raw
    fails 1 "$CAIRN_IMG" convert disk.raw out.raw
    says "Is a directory"
}

@test "a target that is no file is written in place" {
    ok "$CAIRN_IMG" convert -n --target-image-opts disk.raw driver=null-co,size=8M
    mkfifo pipe
    fails 1 "$CAIRN_IMG" convert disk.raw pipe
    [ -p pipe ]
}

@test "two commands with one target: the second is refused" {
    printf old >out.raw
    "$CAIRN_IMG" convert -r 4M disk.raw out.raw &
    local first=$!
    timeout 20 bash -c "until grep -q '^SigBlk:.*2[0-9a-f][0-9a-f]\$' /proc/$first/status; do :; done"
    fails 1 "$CAIRN_IMG" convert disk.raw out.raw
    says "lock"
    wait "$first"
    cmp disk.raw out.raw
}

@test "a relative backing file is relative to the folder of the target" {
    mkdir sub
    "$CAIRN_IMG" convert -O qcow2 disk.raw sub/base.qcow2
    ok "$CAIRN_IMG" convert -O qcow2 -b base.qcow2 -F qcow2 disk.raw sub/top.qcow2
    ok "$CAIRN_IMG" compare disk.raw sub/top.qcow2
    ok "$CAIRN_IMG" info sub/top.qcow2
    says "backing file: base.qcow2 (actual path: sub/base.qcow2)"
}

@test "where no nameless file can be made, a hidden name serves" {
    [ -w /proc/self/oom_score_adj ] || skip "needs /proc"
    mkdir -p fat && truncate -s 20M fat.img
    { mkfs.vfat fat.img && mount -o loop fat.img fat; } >/dev/null 2>&1 || skip "mounting a FAT file system needs root and loop devices"
    run "$CAIRN_IMG" convert disk.raw fat/out.raw
    local left
    left=$(ls -A fat)
    cmp disk.raw fat/out.raw
    umount fat
    [ "$status" = 0 ]
    [ "$left" = out.raw ]
}
