# The argument lists of consumers.list over images of their own: what a program prints, and leaves behind.
# tests/interop/record-consumers writes consumers.out from a qemu-img 11.1; consumers.bats compares ours.

# The images that the lists use, made by Debian's tools in the folder $1.
consumers_prepare() {
    mkdir -p "$1" && cd "$1" || return
    pattern D
    "$QEMU_IMG" convert -f raw -O qcow2 D A
    "$QEMU_IMG" create -q -f qcow2 -b A -F qcow2 B
    "$QEMU_IO" -c 'write -q -P 3 1M 64k' B
    cp A S
    "$QEMU_IMG" snapshot -c one S
    "$QEMU_IO" -c 'write -q -P 4 2M 64k' S
    "$QEMU_IMG" snapshot -c two S
    "$QEMU_IMG" create -q -f qcow2 T 3M
    truncate -s 3M R
}

# "CONSUMER: ARGUMENTS" lines.
consumers_calls() {
    grep -v '^#' "$1"
}

# consumers_run PROGRAM ARGUMENTS: stdout and status, with what depends on the file system or the time
# taken out; of progress only the first and the last figure, and none when it failed; JSON with its
# keys sorted.
consumers_run() {
    local status=0 words
    eval "words=($2)"
    "$1" "${words[@]}" >.stdout 2>.stderr || status=$?
    if [[ $2 == *json* && $2 != map* ]] && python3 -m json.tool --sort-keys .stdout >.sorted 2>/dev/null; then
        mv .sorted .stdout
    fi
    tr '\r' '\n' <.stdout |
        { [ "$status" = 0 ] && cat || sed -E '/^ +\([0-9.]+\/100%\)$/d'; } |
        sed -E '/^ +\((0\.00|100\.00)?[^)]*\)$/{/\((0\.00|100\.00)\//!d}
            s/"actual-size": [0-9]+/"actual-size": N/; s/disk size: .*/disk size: N/
            s/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}/DATE/
            s/"date-(sec|nsec)": [0-9]+/"date-\1": N/
            s/("size|image-end-offset)": [0-9]+/\1": N/' | uniq
    echo "status $status"
}
