#!/usr/bin/env bats
# cairn-img prints what qemu-img 11.1 printed for the same command over the same images.
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
