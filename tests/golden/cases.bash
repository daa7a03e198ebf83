# What cairn-img must print exactly as qemu-img 11.1 prints it: images made by Debian's tools, and command
# lines over them. tests/golden/record writes img/NAME.out from a qemu-img; golden.bats compares ours.

golden_images() {
    local qemu=${QEMU_IMG:-qemu-img} io=${QEMU_IO:-qemu-io}
    "$qemu" create -q -f qcow2 v3.qcow2 10M
    "$qemu" create -q -f qcow2 -o compat=0.10,cluster_size=4k v2.qcow2 10M
    "$qemu" create -q -f qcow2 -o lazy_refcounts=on,refcount_bits=1,cluster_size=2M lazy.qcow2 100M
    "$qemu" create -q -f qcow2 -o preallocation=metadata meta.qcow2 3M
    "$qemu" create -q -f qcow2 -b v3.qcow2 -F qcow2 over.qcow2 12M
    "$qemu" create -q -f qcow2 -b over.qcow2 -F qcow2 -o cluster_size=512 top.qcow2
    "$io" -c 'write -q -P 1 64k 200k' -c 'write -q -z 1M 128k' -c 'write -q -P 2 5M 1' v3.qcow2
    "$io" -c 'write -q -P 3 8k 9k' -c 'write -q -P 4 10485248 512' v2.qcow2
    "$io" -c 'write -q -P 5 128k 64k' -c 'write -q -z 320k 64k' -c 'write -q -P 5 11M 1k' over.qcow2
    "$io" -c 'write -q -P 6 130k 3k' top.qcow2
    truncate -s 3M holes.raw
    head -c 300000 /dev/zero | tr '\0' t | dd of=holes.raw bs=64k seek=2 conv=notrunc status=none
    "$qemu" convert -c -O qcow2 holes.raw zlib.qcow2
    "$qemu" convert -c -O qcow2 -o compression_type=zstd,cluster_size=4k holes.raw zstd.qcow2
    cp holes.raw other.raw
    printf z | dd of=other.raw bs=1 seek=200000 conv=notrunc status=none
    { cat holes.raw; head -c 1M /dev/zero; } >longer.raw
    truncate -s %512 lazy.qcow2 # 11.1 shows whole sectors, we show bytes
}

# NAME|COMMAND, the program left out.
golden_cases() {
    local image
    for image in v3 v2 lazy meta over top zlib zstd; do
        echo "info-$image|info $image.qcow2"
        echo "info-$image-json|info --output=json $image.qcow2"
        echo "map-$image-json|map --output=json $image.qcow2"
    done
    for image in v3 v2 over top meta; do echo "map-$image|map $image.qcow2"; done
    cat <<'END'
info-raw|info -f raw holes.raw
info-raw-json|info -f raw --output json holes.raw
info-chain|info --backing-chain top.qcow2
info-chain-json|info --backing-chain --output=json -U top.qcow2
info-options|info --image-opts driver=qcow2,file.driver=file,file.filename=v3.qcow2
info-json-name|info json:{"driver":"qcow2","file":{"driver":"file","filename":"v3.qcow2"}}
map-raw|map -f raw holes.raw
map-raw-json|map -f raw --output=json holes.raw
map-range|map --output=json -s 100k -l 1M v3.qcow2
map-range-long|map --output=json --start-offset=65536 --max-length=65536 over.qcow2
map-past-end|map --output=json -s 20M v3.qcow2
map-options|map --output=json --image-opts driver=qcow2,file.filename=v3.qcow2
compare-equal|compare -f raw -F raw holes.raw holes.raw
compare-formats|compare -f raw -F qcow2 holes.raw zlib.qcow2
compare-different|compare -f raw -F raw holes.raw other.raw
compare-longer|compare -f raw -F raw holes.raw longer.raw
compare-strict-size|compare -s -f raw -F raw holes.raw longer.raw
compare-tail|compare -f qcow2 -F qcow2 v3.qcow2 over.qcow2
compare-quiet|compare -q -f raw -F raw holes.raw other.raw
convert-progress|convert -p -f raw -O raw holes.raw out.raw
convert-silent|convert -f raw -O qcow2 holes.raw out.qcow2
create-qcow2|create -f qcow2 new.qcow2 1G
create-options|create -f qcow2 -o compat=0.10,cluster_size=4k,preallocation=metadata new.qcow2 10M
create-zstd|create -f qcow2 -o compression_type=zstd,refcount_bits=64 new.qcow2 1T
create-overlay|create -f qcow2 -b v3.qcow2 -F qcow2 new.qcow2
create-overlay-new|create -f qcow2 -b v3.qcow2 -B qcow2 new.qcow2 20M
create-unsafe|create -u -f qcow2 -b missing.raw -F raw new.qcow2 1M
create-raw|create new.raw 1000
create-bytes|create -f qcow2 new.qcow2 1048576b
create-suffix|create -f qcow2 new.qcow2 1.5G
create-quiet|create -q -f qcow2 new.qcow2 1M
measure-size|measure -O qcow2 --size 1G
measure-size-json|measure -O qcow2 -o cluster_size=4k,refcount_bits=1 --output json --size 1G
measure-raw|measure holes.raw
measure-over|measure -O qcow2 -o compat=0.10 over.qcow2
measure-bitmaps|measure -O qcow2 --output=json zlib.qcow2
measure-none|measure -O qcow2
measure-twice|measure --size 1M holes.raw
measure-format|measure -O file --size 1M
END
}

# golden_run PROGRAM COMMAND: its stdout and exit status, with what depends on the file system taken out;
# a JSON object with its keys sorted.
golden_run() {
    local status=0 words=()
    read -ra words <<<"$2"
    "$1" "${words[@]}" >.stdout 2>/dev/null || status=$?
    if [[ $2 == info*json* && $2 != *json:* ]]; then
        python3 -m json.tool --sort-keys .stdout >.sorted && mv .sorted .stdout
    fi
    sed -E 's/"actual-size": [0-9]+/"actual-size": N/; s/disk size: .*/disk size: N/' .stdout
    echo "status $status"
}
