#!/usr/bin/env bats
# The argument lists with which well-known programs call qemu-img, word by word (consumers.list): the same
# status and the same output as 11.1's, which consumers.out holds, silent on stderr, and images that Debian's
# qemu-img finds sound and equal to those that it makes itself.
load ../bats/helper
load images
load consumers

lists=$abs_top_srcdir/tests/interop/consumers

# recorded CALL: what 11.1 printed.
recorded() {
    call="### $1" awk '/^### /{ on = $0 == ENVIRON["call"]; next } on' "$lists.out"
}

# is_built ARGUMENTS: our program has the subcommand.
is_built() {
    "$CAIRN_IMG" "${1%% *}" --help >/dev/null 2>&1
}

# same_images: every image is the same here and there, by content; ours are sound.
same_images() {
    local image
    for image in A B D P R S T; do
        [ -e ours/$image ] || [ -e theirs/$image ] || continue
        ! cmp -s ours/$image fresh/$image || ! cmp -s theirs/$image fresh/$image || continue
        "$QEMU_IMG" compare -q ours/$image theirs/$image || { echo "$image differs"; return 1; }
        ! cmp -s -n 3 ours/$image <(printf QFI) || clean ours/$image || return 1
    done
}

# check_call CALL: one line of the list.
check_call() {
    local ours theirs wanted arguments=${1#*: }
    rm -rf ours theirs && cp -r fresh ours && cp -r fresh theirs
    wanted=$(recorded "$1")
    ours=$(cd ours && consumers_run "$CAIRN_IMG" "$arguments")
    theirs=$(cd theirs && consumers_run "$QEMU_IMG" "$arguments")
    ! grep -q 'not built yet' ours/.stderr || return 0
    [ "$ours" = "$wanted" ] || { diff <(echo "$wanted") <(echo "$ours"); cat ours/.stderr; return 1; }
    [[ $ours != *'status 0' || ! -s ours/.stderr ]] || { cat ours/.stderr; return 1; }
    [ "${theirs##*$'\n'}" != "${wanted##*$'\n'}" ] || same_images
}

# check_calls REGEX: every line of consumers that match; says which of them differ.
check_calls() {
    local call bad=0 checked=0
    (consumers_prepare fresh)
    while IFS= read -r call; do
        is_built "${call#*: }" || continue
        checked=$((checked + 1))
        check_call "$call" || { echo "$call" && bad=1; }
    done < <(consumers_calls "$lists.list" | grep -E "^($1):")
    echo "# tally consumer-calls $checked"
    [ $checked -gt 0 ] && return $bad
}

@test "libvirt and nova" {
    require qemu-img qemu-io python3
    check_calls 'libvirt|nova'
}

@test "glance, cinder and kubevirt" {
    require qemu-img qemu-io python3
    check_calls 'glance|cinder|kubevirt'
}

@test "packer, lima, incus and libguestfs" {
    require qemu-img qemu-io python3
    check_calls 'packer|lima|incus|libguestfs'
}

@test "proxmox and others" {
    require qemu-img qemu-io python3
    check_calls 'proxmox|cloudstack|vagrant|vmdb2|cloud-localds|mkosi'
}

@test "ovirt" {
    require qemu-img qemu-io python3
    check_calls 'ovirt'
}

@test "the version line that cinder parses" {
    ln -s "$CAIRN_IMG" qemu-img
    ok ./qemu-img --version
    [[ $output =~ ^qemu-img\ version\ [0-9.]+ ]]
}

@test "the help line that libguestfs looks for" {
    ok "$CAIRN_IMG" --help
    grep -qE '\binfo\b.*-U\b' <<<"$output"
}

@test "progress can be parsed as kubevirt and proxmox do" {
    pattern a.raw
    ok "$CAIRN_IMG" convert -p -O qcow2 a.raw b.qcow2
    tr '\r' '\n' <<<"$output" | grep -qE '\(100\.00/100%\)'
}

@test "info under the limits that glance and incus set" {
    require prlimit qemu-img
    ok "$QEMU_IMG" create -q -f qcow2 a.qcow2 10T
    ok prlimit --cpu=2 --as=1073741824 "$CAIRN_IMG" info -f qcow2 --output=json a.qcow2
}
