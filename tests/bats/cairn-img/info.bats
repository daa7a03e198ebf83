load ../helper
load lock

@test "info prints what scripts read of a raw image" {
    truncate -s 1536k disk.raw
    ok "$CAIRN_IMG" info disk.raw
    [ "$output" = "image: disk.raw
file format: raw
virtual size: 1.5 MiB (1572864 bytes)
disk size: 0 B
Child node '/file':
    filename: disk.raw
    protocol type: file
    file length: 1.5 MiB (1572864 bytes)
    disk size: 0 B" ]
}

@test "info --output=json has the keys and types of qemu-img" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" info --output=json disk.raw
    python3 - "$output" <<'PY'
import json, sys
info = json.loads(sys.argv[1])
child = info["children"][0]
assert info["virtual-size"] == 1048576 and info["format"] == "raw" and info["filename"] == "disk.raw"
assert info["actual-size"] == 0 and info["dirty-flag"] is False
assert child["name"] == "file" and child["info"]["format"] == "file"
assert child["info"]["children"] == [] and child["info"]["virtual-size"] == 1048576
assert child["info"]["format-specific"] == {"type": "file", "data": {}}
assert set(info) == {"children", "virtual-size", "filename", "format", "actual-size", "dirty-flag"}
PY
}

@test "info --output json and options after the name work" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" info disk.raw --force-share --output json -f raw
    says '"format": "raw"'
}

@test "info -f says the format, and a wrong one is refused" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" info -f raw disk.raw
    fails 1 "$CAIRN_IMG" info -f foo disk.raw
    says "Could not open 'disk.raw'"
    says "'foo'"
}

@test "info --image-opts takes an option list" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" info --image-opts driver=raw,file.filename=disk.raw
    says "virtual size: 1 MiB"
    ok "$CAIRN_IMG" info --image-opts driver=raw,offset=512k,file.driver=file,file.filename=disk.raw
    says "virtual size: 512 KiB"
}

@test "info --image-opts and --format exclude each other" {
    fails 1 "$CAIRN_IMG" info --image-opts -f raw driver=raw,file.filename=x
    says "--image-opts and --format are mutually exclusive"
}

@test "info takes json: names" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" info "json:{'driver': 'raw', 'file.filename': 'disk.raw'}"
    says "file format: raw"
}

@test "info of a missing file says it once" {
    fails 1 "$CAIRN_IMG" info nothing.raw
    [ "$output" = "cairn-img: Could not open 'nothing.raw': No such file or directory" ]
}

@test "info --limits shows alignments" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" info --limits disk.raw
    says "Block limits:
    request alignment: "
    ok "$CAIRN_IMG" info --limits --output=json disk.raw
    says '"max-iov": 1024'
}

@test "info -t takes the five cache modes and no other" {
    truncate -s 1M disk.raw
    local mode
    for mode in writeback writethrough unsafe; do
        ok "$CAIRN_IMG" info -t "$mode" disk.raw
    done
    fails 1 "$CAIRN_IMG" info --cache=fast disk.raw
    says "fast"
}

@test "info refuses another output format with the words it knows" {
    fails 1 "$CAIRN_IMG" info --output=xml disk.raw
    says "option '--output' wants one of human, json, not 'xml'"
    says "Try 'cairn-img info --help' for more information"
}

@test "info -U reads an image that another process writes to" {
    "$CAIRN_IMG" create -q -f qcow2 disk.qcow2 1M
    hold_image disk.qcow2
    fails 1 "$CAIRN_IMG" info disk.qcow2
    says "lock"
    ok "$CAIRN_IMG" info -U disk.qcow2
    says "virtual size: 1 MiB"
}

@test "info wants exactly one name" {
    fails 1 "$CAIRN_IMG" info
    says "info wants FILE, and got no name"
    fails 1 "$CAIRN_IMG" info a b
    says "unexpected argument 'b'"
}

# ---- qcow2 ----

@test "info of an overlay prints what scripts read" {
    "$CAIRN_IMG" create -q -f qcow2 base.qcow2 10M
    "$CAIRN_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
    ok "$CAIRN_IMG" info top.qcow2
    [ "$(grep -v -e '^disk size' -e '^    disk size' -e '^    file length' <<<"$output")" = "image: top.qcow2
file format: qcow2
virtual size: 10 MiB (10485760 bytes)
cluster_size: 65536
backing file: base.qcow2
backing file format: qcow2
Format specific information:
    compat: 1.1
    compression type: zlib
    lazy refcounts: false
    refcount bits: 16
    corrupt: false
    extended l2: false
Child node '/file':
    filename: top.qcow2
    protocol type: file" ]
}

@test "info --output=json of an overlay has the keys and types of qemu-img" {
    "$CAIRN_IMG" create -q -f qcow2 base.qcow2 10M
    "$CAIRN_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
    ok "$CAIRN_IMG" info --output=json top.qcow2
    python3 - "$output" <<'PY'
import json, sys
info = json.loads(sys.argv[1])
del info["children"], info["actual-size"]
assert info == {
    "virtual-size": 10485760, "filename": "top.qcow2", "cluster-size": 65536, "format": "qcow2",
    "backing-filename": "base.qcow2", "full-backing-filename": "base.qcow2",
    "backing-filename-format": "qcow2", "dirty-flag": False,
    "format-specific": {"type": "qcow2", "data": {
        "compat": "1.1", "compression-type": "zlib", "lazy-refcounts": False, "refcount-bits": 16,
        "corrupt": False, "extended-l2": False}}}, info
PY
}

@test "info --backing-chain shows every layer, top first" {
    "$CAIRN_IMG" create -q -f qcow2 base.qcow2 10M
    "$CAIRN_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2
    "$CAIRN_IMG" create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2
    ok "$CAIRN_IMG" info --backing-chain top.qcow2
    [ "$(grep ^image: <<<"$output")" = "image: top.qcow2
image: middle.qcow2
image: base.qcow2" ]
    ok "$CAIRN_IMG" info --backing-chain --output=json top.qcow2
    [ "$(python3 -c 'import json,sys; print([i["filename"] for i in json.loads(sys.argv[1])])' "$output")" = \
        "['top.qcow2', 'middle.qcow2', 'base.qcow2']" ]
}

@test "info --backing-chain finds loops, plain info does not care" {
    "$CAIRN_IMG" create -q -f qcow2 -u -b b.qcow2 -F qcow2 a.qcow2 1M
    "$CAIRN_IMG" create -q -f qcow2 -u -b a.qcow2 -F qcow2 b.qcow2 1M
    fails 1 "$CAIRN_IMG" info --backing-chain a.qcow2
    says "'a.qcow2' of 'b.qcow2' leads back to 'a.qcow2'"
    ok "$CAIRN_IMG" info a.qcow2
    says "backing file: b.qcow2"
}

@test "info names a missing backing file, and --backing-chain fails" {
    "$CAIRN_IMG" create -q -f qcow2 -u -b gone.qcow2 -F qcow2 a.qcow2 1M
    ok "$CAIRN_IMG" info a.qcow2
    says "backing file: gone.qcow2"
    fails 1 "$CAIRN_IMG" info --backing-chain a.qcow2
    says "gone.qcow2"
}

@test "names inside an image are followed as far as they are trusted" {
    truncate -s 1M base.raw
    "$CAIRN_IMG" create -q -f qcow2 -b base.raw -F raw plain.qcow2
    "$CAIRN_IMG" create -q -f qcow2 -u -b 'json:{"driver":"raw","file.filename":"base.raw"}' -F raw json.qcow2 1M
    ok "$CAIRN_IMG" info --backing-chain plain.qcow2
    fails 1 "$CAIRN_IMG" info --backing-chain --untrusted plain.qcow2
    says "base.raw"
    fails 1 "$CAIRN_IMG" info --backing-chain --allow-ref=none plain.qcow2
    fails 1 "$CAIRN_IMG" info --backing-chain json.qcow2
    says "--allow-ref=all"
    ok "$CAIRN_IMG" info --backing-chain --allow-ref=all json.qcow2
    ln -s "$CAIRN_IMG" qemu-img
    ok ./qemu-img info --backing-chain json.qcow2
    CAIRN_UNTRUSTED=1 fails 1 ./qemu-img info --backing-chain json.qcow2
}

@test "an unknown format gets the nearest name" {
    truncate -s 1M disk.raw
    fails 1 "$CAIRN_IMG" info -f qcwo2 disk.raw
    says "unknown driver 'qcwo2'; did you mean 'qcow2'?"
}
