load ../helper

setup_image() {
    ok "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
}

@test "snapshot: create, list, apply and delete, in both spellings" {
    setup_image
    for c in "-c one" "--create=two" "--create three" "-a one" "--apply=2" "-d one" "--delete=two"; do
        ok "$CAIRN_IMG" snapshot $c a.qcow2
        [ -z "$output" ]
    done
    ok "$CAIRN_IMG" snapshot --list a.qcow2
    says "Snapshot list:"
    says "3       three "
    [ "$(wc -l <<<"$output")" = 3 ]
}

@test "snapshot: without an action it lists; no snapshots, no output" {
    setup_image
    ok "$CAIRN_IMG" snapshot a.qcow2
    [ -z "$output" ]
    ok "$CAIRN_IMG" snapshot -c one a.qcow2
    ok "$CAIRN_IMG" snapshot a.qcow2
    listed=$output
    ok "$CAIRN_IMG" snapshot -q -U -l --image-opts driver=qcow2,file.filename=a.qcow2
    [ "$output" = "$listed" ]
}

@test "snapshot: what cannot be done is said, and nothing is changed" {
    setup_image
    ok "$CAIRN_IMG" snapshot -c one a.qcow2
    before=$(sha256sum a.qcow2)
    fails 1 "$CAIRN_IMG" snapshot -a two a.qcow2
    says "Could not apply snapshot 'two': 'a.qcow2' has no snapshot 'two'"
    fails 1 "$CAIRN_IMG" snapshot -d two a.qcow2
    says "Could not delete snapshot 'two'"
    fails 1 "$CAIRN_IMG" snapshot -c two -d one a.qcow2
    says "Cannot mix '-l', '-a', '-c', '-d'"
    fails 1 "$CAIRN_IMG" snapshot -U -c two a.qcow2
    fails 1 "$CAIRN_IMG" snapshot -c two missing.qcow2
    says "Could not open 'missing.qcow2'"
    [ "$before" = "$(sha256sum a.qcow2)" ]
}

@test "snapshot: raw images have none" {
    truncate -s 1M a.raw
    fails 1 "$CAIRN_IMG" snapshot -f raw -c one a.raw
    says "Could not create snapshot 'one'"
    ok "$CAIRN_IMG" snapshot -f raw a.raw
    [ -z "$output" ]
}

@test "snapshot: refcounts of one bit cannot count two references" {
    ok "$CAIRN_IMG" create -q -f qcow2 -o refcount_bits=1 a.qcow2 1M
    head -c 64K /dev/urandom >data
    ok "$CAIRN_IMG" convert -n -f raw -O qcow2 data a.qcow2
    fails 1 "$CAIRN_IMG" snapshot -c one a.qcow2
    says "refcounts of 1 bits cannot count another reference"
}

@test "snapshot: a hundred of them" {
    setup_image
    for i in $(seq 100); do "$CAIRN_IMG" snapshot -c "s$i" a.qcow2; done
    ok "$CAIRN_IMG" snapshot a.qcow2
    [ "$(wc -l <<<"$output")" = 102 ]
    for i in $(seq 100); do "$CAIRN_IMG" snapshot -d "s$i" a.qcow2; done
    ok "$CAIRN_IMG" snapshot a.qcow2
    [ -z "$output" ]
}
