#!/usr/bin/env bats
# cairn-img and cairn-io print what qemu-img and qemu-io 11.1 printed for the same command over the same images.
load ../bats/helper
load cases

# compare GLOB: every case whose name matches; shows each difference.
compare() {
    local name command differ=0
    golden_images
    while IFS='|' read -r name command; do
        [[ $name == $1 ]] || continue
        golden_run "$CAIRN_IMG" "$command" >ours
        diff -u --label "11.1: $command" --label ours \
            "$abs_top_srcdir/tests/golden/img/$name.out" ours || differ=1
    done < <(golden_cases)
    return $differ
}

@test "info, for people" {
    require qemu-img qemu-io
    compare 'info-!(*json)'
}

@test "info, as JSON" {
    require qemu-img qemu-io python3
    compare 'info-*json'
}

@test "map" {
    require qemu-img qemu-io
    compare 'map-*'
}

@test "compare" {
    require qemu-img qemu-io
    compare 'compare-*'
}

@test "bench and dd" {
    require qemu-img qemu-io
    compare '@(bench|dd)*'
}

@test "check" {
    require qemu-img qemu-io
    compare 'check-*'
}

@test "convert" {
    require qemu-img qemu-io
    compare 'convert-*'
}

@test "create" {
    require qemu-img qemu-io
    compare 'create-*'
}

@test "measure" {
    require qemu-img qemu-io
    compare 'measure-*'
}

@test "commit and rebase" {
    require qemu-img qemu-io
    compare 'commit-*'
    compare 'rebase-*'
}

@test "amend" {
    require qemu-img qemu-io
    compare 'amend-*'
}

# compare_io GLOB: every case of cairn-io whose name matches; shows each difference.
compare_io() {
    local name options commands differ=0 count=0
    mkdir images
    (cd images && golden_io_images)
    while IFS='|' read -r name options commands; do
        [[ $name == $1 ]] || continue
        golden_io_run "$CAIRN_IO" "$options" "$commands" >ours
        diff -u --label "11.1: $options: $commands" --label ours \
            "$abs_top_srcdir/tests/golden/io/$name.out" ours || differ=1
        count=$((count + 1))
    done < <(golden_io_cases)
    [ "$count" -gt 0 ] && return $differ
}

@test "cairn-io: reading and writing" {
    require qemu-img qemu-io
    compare_io '@(read|write|numbers|discard|flush)*'
}

@test "cairn-io: images as a whole" {
    require qemu-img qemu-io
    compare_io '!(read|write|numbers|discard|flush)*'
}

@test "snapshot" {
    require qemu-img qemu-io
    compare 'snapshot-*'
}

@test "resize" {
    require qemu-img qemu-io
    compare 'resize-*'
}
