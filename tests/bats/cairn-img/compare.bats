load ../helper
load lock

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 256k /dev/urandom >a.raw
    truncate -s 1M a.raw
    cp a.raw b.raw
}

@test "compare of equal images says so and exits with 0" {
    ok "$CAIRN_IMG" compare a.raw b.raw
    [ "$output" = "Images are identical." ]
}

@test "compare finds the first difference and exits with 1" {
    printf x | dd of=b.raw bs=1 seek=600000 conv=notrunc status=none
    fails 1 "$CAIRN_IMG" compare a.raw b.raw
    [ "$output" = "Content mismatch at offset 599552!" ]
}

@test "compare accepts a longer image whose rest is zero, but not with -s" {
    truncate -s 2M b.raw
    ok "$CAIRN_IMG" compare a.raw b.raw
    [ "$output" = "Warning: Image size mismatch!
Images are identical." ]
    fails 1 "$CAIRN_IMG" compare -s a.raw b.raw
    [ "$output" = "Strict mode: Image size mismatch!" ]
}

@test "compare speaks of sizes only where the contents are equal so far" {
    truncate -s 2M b.raw
    printf x | dd of=b.raw bs=1 seek=1024 conv=notrunc status=none
    fails 1 "$CAIRN_IMG" compare a.raw b.raw
    [ "$output" = "Content mismatch at offset 1024!" ]
}

@test "compare of a longer image with data in its rest fails there" {
    truncate -s 2M b.raw
    printf x | dd of=b.raw bs=1 seek=1500000 conv=notrunc status=none
    fails 1 "$CAIRN_IMG" compare a.raw b.raw
    says "Content mismatch at offset 1499648!"
}

@test "compare --strict wants the same allocation" {
    head -c 1M /dev/zero >zero.raw
    truncate -s 1M hole.raw
    ok "$CAIRN_IMG" compare zero.raw hole.raw
    fails 1 "$CAIRN_IMG" compare --strict zero.raw hole.raw
    [ "$output" = "Strict mode: Offset 0 block status mismatch!" ]
}

@test "compare -q tells by exit status only" {
    ok "$CAIRN_IMG" compare -q a.raw b.raw
    [ -z "$output" ]
    truncate -s 2M b.raw
    printf x | dd of=b.raw bs=1 seek=0 conv=notrunc status=none
    fails 1 "$CAIRN_IMG" compare --quiet a.raw b.raw
    [ -z "$output" ]
    fails 1 "$CAIRN_IMG" compare -q -s a.raw b.raw
    [ -z "$output" ]
}

@test "compare -f and -F name the formats" {
    "$CAIRN_IMG" convert -O qcow2 a.raw a.qcow2
    ok "$CAIRN_IMG" compare -f raw -F qcow2 a.raw a.qcow2
    ok "$CAIRN_IMG" compare --a-format=qcow2 --b-format=raw a.qcow2 a.raw
    fails 1 "$CAIRN_IMG" compare -f raw -F raw a.raw a.qcow2
}

@test "compare exits with 2 when an image cannot be opened" {
    fails 2 "$CAIRN_IMG" compare a.raw nothing.raw
    says "Could not open 'nothing.raw': No such file or directory"
    fails 2 "$CAIRN_IMG" compare -f foo a.raw b.raw
    fails 2 "$CAIRN_IMG" compare -T fast a.raw b.raw
}

@test "compare exits with 1 for a bad command line" {
    fails 1 "$CAIRN_IMG" compare a.raw
    fails 1 "$CAIRN_IMG" compare a.raw b.raw c.raw
    fails 1 "$CAIRN_IMG" compare --bogus a.raw b.raw
}

@test "compare --image-opts takes option lists" {
    ok "$CAIRN_IMG" compare --image-opts driver=raw,file.filename=a.raw driver=raw,file.filename=b.raw
    fails 2 "$CAIRN_IMG" compare --image-opts -F raw driver=raw,file.filename=a.raw driver=raw,file.filename=b.raw
}

@test "compare -p shows percentages on standard output" {
    ok "$CAIRN_IMG" compare -p a.raw b.raw
    says $'    (0.00/100%)\r'
    says $'    (100.00/100%)\r'
    says "Images are identical."
    printf x | dd of=b.raw bs=1 seek=0 conv=notrunc status=none
    fails 1 "$CAIRN_IMG" compare -p a.raw b.raw
    [[ $output != *"(100.00/100%)"*mismatch* ]]
}

@test "compare takes every cache mode" {
    local mode
    for mode in writeback writethrough unsafe; do
        ok "$CAIRN_IMG" compare -T "$mode" a.raw b.raw
    done
}

@test "compare -U reads images that another process writes to" {
    "$CAIRN_IMG" convert -O qcow2 a.raw b.qcow2
    hold_image b.qcow2
    fails 2 "$CAIRN_IMG" compare a.raw b.qcow2
    says "lock"
    ok "$CAIRN_IMG" compare -U a.raw b.qcow2
}
