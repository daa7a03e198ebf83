#!/usr/bin/env bats
# The argument lists with which well-known programs call qemu-img, word by word: same status and same
# output as qemu-img's, silent on stderr, and images that read the same.
load ../bats/helper
load images

# The images that the lists use: FILES in a folder of their own.
prepare() {
    mkdir -p "$1" && cd "$1"
    pattern disk.raw
    "$QEMU_IMG" convert -f raw -O qcow2 disk.raw A
    "$QEMU_IMG" create -q -f qcow2 -b A -F qcow2 B
    "$QEMU_IO" -c 'write -q -P 3 1M 64k' B
    "$QEMU_IMG" create -q -f qcow2 T 3M
    truncate -s 3M R
}

# One call: "CONSUMER: ARGUMENTS".
calls() {
    cat <<'END'
libvirt: create -f qcow2 -o compat=0.10 P 65536K
libvirt: create -f qcow2 -b A -o backing_fmt=qcow2,compat=0.10 P 65536K
libvirt: convert -f qcow2 -O qcow2 -o compat=0.10 A P
libvirt: convert --image-opts -n --target-image-opts driver=qcow2,file.filename=A driver=qcow2,file.filename=T
nova: info A --force-share --output=json
nova: info A --force-share --output=json -f qcow2
nova: convert -t none -O raw -f qcow2 A P
nova: convert -t writeback -O qcow2 -f raw -c disk.raw P
nova: create -f qcow2 -o backing_file=A,backing_fmt=qcow2,cluster_size=65536 P
glance: info -f qcow2 --output=json A
glance: convert -f qcow2 -O raw A P
cinder: info -f qcow2 --output=json --force-share A
cinder: convert -O raw -t none -S 0 -f qcow2 A P
cinder: convert -O qcow2 -t none -c -f raw disk.raw P
kubevirt: convert -t none -p -O raw A P -o preallocation=falloc
kubevirt: convert -t writeback -p -O raw A P -S 0
packer: create -f qcow2 P 10G
packer: create -f qcow2 -b A -F qcow2 P 10G
packer: convert -O qcow2 A P
lima: info --output=json --force-share B
lima: convert -O raw B P
incus: info -f qcow2 --output=json B
incus: convert -p -f qcow2 -O raw -t writeback -T none -t none A P
incus: convert -f qcow2 -O raw -t writeback -W -n --target-is-zero A R
incus: create -f qcow2 P 1073741824b
incus: info -U --backing-chain --output=json B
libguestfs: info -U --output json ./B
libguestfs: create -f qcow2 -o backing_file=A,backing_fmt=qcow2,compat=1.1 P
proxmox: create -o preallocation=metadata -f qcow2 P 123K
proxmox: create -F qcow2 -b B -f qcow2 P
proxmox: info --output=json B -f qcow2 --backing-chain
proxmox: convert -p -n -t none -T none -f qcow2 -O raw A R
vagrant: info --output=json B
vmdb2: create -f raw P 1M
cloud-localds: convert -f raw -O qcow2 disk.raw P
END
}

# outputs PROGRAM ARGUMENT...: stdout and status, comparable; progress only as first and last.
outputs() {
    local status=0
    "$@" >.out 2>.err || status=$?
    tr '\r' '\n' <.out | sed -E '/^ +\((0\.00|100\.00)?[^)]*\)$/{/\((0\.00|100\.00)\//!d}' | masked
    cat .err
    echo "status $status"
}

# Debian's 7.2 does not know what 11.1 prints, so the text of info and create is compared by golden.bats.
check_calls() {
    local consumer arguments ours theirs
    (prepare ours) && (prepare theirs)
    while IFS=': ' read -r consumer arguments; do
        ours=$(cd ours && rm -f P && outputs "$CAIRN_IMG" $arguments)
        theirs=$(cd theirs && rm -f P && outputs "$QEMU_IMG" $arguments)
        case $arguments in info*json*) ours=${ours##*$'\n'} theirs=${theirs##*$'\n'} ;; esac
        [ "$ours" = "$theirs" ] || { echo "$consumer: $arguments"; diff <(echo "$theirs") <(echo "$ours"); return 1; }
        for image in P T R; do
            [ ! -e theirs/$image ] || "$QEMU_IMG" compare -q ours/$image theirs/$image ||
                { echo "$consumer: $arguments: $image differs"; return 1; }
        done
    done
}

@test "libvirt and nova" {
    require qemu-img qemu-io
    check_calls < <(calls | grep -E '^(libvirt|nova)')
}

@test "glance, cinder, kubevirt and packer" {
    require qemu-img qemu-io
    check_calls < <(calls | grep -E '^(glance|cinder|kubevirt|packer)')
}

@test "lima, incus, libguestfs, proxmox and others" {
    require qemu-img qemu-io
    check_calls < <(calls | grep -vE '^(libvirt|nova|glance|cinder|kubevirt|packer)')
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
