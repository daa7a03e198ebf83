# Command lines of well-known callers of qemu-img, word for word, under that name.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    mkdir bin
    ln -s "$CAIRN_IMG" bin/qemu-img
    PATH=$PWD/bin:$PATH
    qemu-img create -q -f qcow2 base.qcow2 64M
    head -c 1M /dev/urandom >data.raw
    truncate -s 64M data.raw
    qemu-img convert -O qcow2 data.raw disk.qcow2
}

json_has() {
    python3 -c 'import json,sys; i=json.loads(sys.argv[1]); sys.exit(any(k not in i for k in sys.argv[2:]))' "$output" "$@"
}

@test "libvirt creates, overlays and copies" {
    ok qemu-img create -f qcow2 -o compat=0.10 P 65536K
    ok qemu-img create -f qcow2 -b P -o backing_fmt=qcow2,compat=0.10 Q 65536K
    ok qemu-img convert -f qcow2 -O qcow2 -o compat=0.10 disk.qcow2 C
    ok qemu-img compare disk.qcow2 C
    ok qemu-img convert --image-opts -n --target-image-opts driver=qcow2,file.filename=disk.qcow2 \
        driver=qcow2,file.filename=P
    ok qemu-img compare disk.qcow2 P
}

@test "nova asks for info with options after the path, under limits" {
    ok prlimit --as=2147483648 --cpu=30 env LC_ALL=C LANG=C qemu-img info disk.qcow2 --force-share --output=json -f qcow2
    json_has virtual-size actual-size format cluster-size filename format-specific dirty-flag
    fails 1 qemu-img info nothing --force-share --output=json
    says "No such file or directory"
    ok qemu-img convert -t none -O raw -f qcow2 disk.qcow2 out.raw
    cmp data.raw out.raw
    ok qemu-img create -f qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2,cluster_size=65536 over.qcow2
}

@test "glance converts under 1 GiB of address space and wants silence" {
    ok prlimit --as=1073741824 --cpu=2 qemu-img info -f qcow2 --output=json disk.qcow2
    ok prlimit --as=1073741824 qemu-img convert -f qcow2 -O raw disk.qcow2 out.raw
    cmp data.raw out.raw
}

@test "cinder reads the version and writes raw" {
    ok qemu-img --version
    [[ $output =~ qemu-img\ version\ ([0-9\.]*) ]]
    [ -n "${BASH_REMATCH[1]}" ]
    ok qemu-img convert -O raw -t none -S 0 -f qcow2 disk.qcow2 out.raw
    cmp data.raw out.raw
}

@test "CDI follows the progress by carriage returns" {
    ok qemu-img convert -t writeback -p -O raw disk.qcow2 out.raw -o preallocation=falloc
    tr '\r' '\n' <<<"$output" | grep -qE '\([0-9]?[0-9]\.[0-9]{2}/100%\)'
    ok qemu-img convert -t none -p -O raw disk.qcow2 out.raw -S 0
    cmp data.raw out.raw
}

@test "Packer creates disks on a base and converts" {
    ok qemu-img create -f qcow2 -b base.qcow2 -F qcow2 P 40G
    ok qemu-img convert -O raw disk.qcow2 out.raw
}

@test "Lima reads info of an image in use" {
    ok qemu-img info --output=json --force-share disk.qcow2
    json_has children virtual-size filename format actual-size format-specific dirty-flag
}

@test "Incus repeats -t, and the last one wins" {
    ok prlimit --cpu=2 --as=1073741824 qemu-img info -f qcow2 --output=json disk.qcow2
    ok nice -n19 qemu-img convert -p -f qcow2 -O raw -t writeback -T none -t none -W disk.qcow2 out.raw
    cmp data.raw out.raw
    ok qemu-img create -f raw target 67108864b
    ok qemu-img convert -p -f qcow2 -O raw -t writeback -n --target-is-zero disk.qcow2 target
    cmp data.raw target
    ok qemu-img info -U --backing-chain --output=json disk.qcow2
}

@test "libguestfs looks for -U and reads info" {
    ok qemu-img --help
    grep -qE '\binfo\b.*-U\b' <<<"$output"
    ok prlimit --as=1073741824 --cpu=10 qemu-img info -U --output json ./disk.qcow2
    ok qemu-img create -f qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2,compat=1.1 over.qcow2
}

@test "Proxmox creates, inspects chains and converts with a rate" {
    ok qemu-img create -o preallocation=metadata -f qcow2 P 123K
    ok qemu-img create -F qcow2 -b base.qcow2 -f qcow2 Q -o cluster_size=128k
    ok qemu-img info --output=json Q -f qcow2 --backing-chain
    ok qemu-img create -q -f raw target 64M
    ok qemu-img convert -p -n -t none -T none -r 1G -f qcow2 -O raw disk.qcow2 target
    cmp data.raw target
}

@test "vmdb2 and cloud-localds create and convert raw" {
    ok qemu-img create -f raw F 1G
    ok qemu-img convert -f raw -O qcow2 data.raw O
    ok qemu-img compare data.raw O
}
