#!/usr/bin/env bats
# Exit statuses, and the words of errors that scripts look for.
load ../bats/helper

@test "a missing image: the status of each command, and words that scripts grep for" {
    truncate -s 1M a.raw
    for command in 'info no' 'map no' 'convert no out'; do
        fails 1 "$CAIRN_IMG" $command
        says "ould not open 'no'"
        says "No such file or directory"
    done
    fails 2 "$CAIRN_IMG" compare a.raw no
    says "No such file or directory"
}

@test "wrong command lines exit with 1 and name the way out" {
    truncate -s 1M a.raw
    for command in '' bogus info 'info --bogus a.raw' 'convert a.raw' 'create -f qcow2' 'map a.raw b.raw'; do
        fails 1 "$CAIRN_IMG" $command
        [[ $output == *help* || $output == *wants* ]] || { echo "$command: $output"; return 1; }
    done
}

@test "wrong values exit with 1, name the value and leave no file" {
    truncate -s 1M a.raw
    while read -r value command; do
        fails 1 "$CAIRN_IMG" $command
        says "$value"
        [ ! -e out ]
    done <<'END'
512 create -f qcow2 -o cluster_size=3 out 1M
2048k create -f qcow2 -o cluster_size=4M out 1M
bogus create -f bogus out 1M
1Z create -f qcow2 out 1Z
64 create -f qcow2 -o refcount_bits=9 out 1M
lz4 create -f qcow2 -o compression_type=lz4 out 1M
nonsense create -f qcow2 -o nonsense=1 out 1M
bogus convert -O bogus a.raw out
bogus convert -f bogus a.raw out
sideways convert -t sideways a.raw out
missing.raw create -f qcow2 -b missing.raw -F raw out
END
}

@test "a backing file without its format is refused" {
    truncate -s 1M a.raw
    fails 1 "$CAIRN_IMG" create -f qcow2 -b a.raw out.qcow2
    says "acking file specified without backing format"
    [ ! -e out.qcow2 ]
}

@test "-n needs a target that is there and long enough" {
    truncate -s 1M a.raw
    fails 1 "$CAIRN_IMG" convert -n -O raw a.raw out.raw
    [ ! -e out.raw ]
    truncate -s 512k small.raw
    fails 1 "$CAIRN_IMG" convert -n -O raw a.raw small.raw
    says "smaller than"
}

@test "the same file as source and target is refused and stays as it was" {
    printf data >a.raw
    truncate -s 1M a.raw
    cp a.raw before
    run "$CAIRN_IMG" convert -f raw -O raw a.raw a.raw
    [ "$status" = 1 ]
    cmp a.raw before
}

@test "a differing image: status 1; an unreadable one: more" {
    truncate -s 1M a.raw b.raw
    printf x | dd of=b.raw bs=1 seek=700000 conv=notrunc status=none
    fails 1 "$CAIRN_IMG" compare a.raw b.raw
    says "Content mismatch at offset"
    mkdir dir
    run "$CAIRN_IMG" compare a.raw dir
    [ "$status" -ge 2 ]
}
