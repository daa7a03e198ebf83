load ../helper

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

@test "info wants exactly one name" {
    fails 1 "$CAIRN_IMG" info
    says "info wants FILE, and got no name"
    fails 1 "$CAIRN_IMG" info a b
    says "unexpected argument 'b'"
}
