load ../helper
load lock

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 256k /dev/urandom >disk.raw
    truncate -s 4M disk.raw
}

@test "convert copies and is silent" {
    ok "$CAIRN_IMG" convert disk.raw copy.raw
    [ -z "$output" ]
    cmp disk.raw copy.raw
}

@test "convert -f and -O name the formats, in both spellings" {
    ok "$CAIRN_IMG" convert -f raw -O qcow2 disk.raw copy.qcow2
    ok "$CAIRN_IMG" convert --source-format=qcow2 --target-format raw copy.qcow2 copy.raw
    cmp disk.raw copy.raw
    fails 1 "$CAIRN_IMG" convert -f qcow2 -O raw disk.raw copy.raw
    says "Could not open 'disk.raw'"
    fails 1 "$CAIRN_IMG" convert -O vhdy disk.raw copy
    says "Unknown file format 'vhdy'"
}

@test "convert keeps holes, and -S 0 writes everything" {
    ok "$CAIRN_IMG" convert disk.raw copy.raw
    [ "$(stat -c %b copy.raw)" -lt 1024 ]
    ok "$CAIRN_IMG" convert -S 0 disk.raw copy.raw
    [ "$(stat -c %b copy.raw)" -ge 8192 ]
    cmp disk.raw copy.raw
}

@test "convert --sparse-size turns runs of zeroes into holes from that length on" {
    truncate -s 0 zero.raw
    head -c 1M /dev/zero >zero.raw
    ok "$CAIRN_IMG" convert -S 64k zero.raw copy.raw
    [ "$(stat -c %b copy.raw)" -le 8 ]
    local size
    for size in 100 17M x; do
        fails 1 "$CAIRN_IMG" convert --sparse-size="$size" zero.raw copy.raw
    done
    fails 1 "$CAIRN_IMG" convert -S 100 zero.raw copy.raw
    says "Valid sizes are multiples of 512 up to 16777216."
}

@test "convert puts several sources one after the other" {
    head -c 1M /dev/urandom >second.raw
    ok "$CAIRN_IMG" convert -O qcow2 disk.raw second.raw both.qcow2
    ok "$CAIRN_IMG" convert both.qcow2 both.raw
    cat disk.raw second.raw | cmp - both.raw
}

@test "convert -c compresses, with zlib and zstd, at the level and window asked for" {
    head -c 1M /dev/zero | tr '\0' 'a' >soft.raw
    local options
    for options in compression_type=zlib compression_type=zstd compression_level=1 window=4k; do
        ok "$CAIRN_IMG" convert -c -O qcow2 -o "$options" soft.raw soft.qcow2
        [ "$(stat -c %s soft.qcow2)" -lt 700000 ]
        ok "$CAIRN_IMG" compare soft.raw soft.qcow2
    done
    fails 1 "$CAIRN_IMG" convert -O qcow2 -o window=4k soft.raw soft.qcow2
    says "need -c"
    fails 1 "$CAIRN_IMG" convert -c -O raw soft.raw soft2.raw
    [ ! -e soft2.raw ]
}

@test "convert writes the same bytes with every number of threads" {
    head -c 6M /dev/urandom | od -An -x >text.raw
    ok "$CAIRN_IMG" convert -c -m 1 -O qcow2 text.raw a.qcow2
    ok "$CAIRN_IMG" convert -c -W --parallel=8 -O qcow2 text.raw b.qcow2
    cmp a.qcow2 b.qcow2
}

@test "convert -m takes 1 to 16" {
    local n
    for n in 0 17 -1 x; do
        fails 1 "$CAIRN_IMG" convert -m "$n" disk.raw copy.raw
    done
    fails 1 "$CAIRN_IMG" convert -m 17 disk.raw copy.raw
    says "Must be between 1 and 16."
}

@test "convert -o passes options on, and -o help lists them" {
    ok "$CAIRN_IMG" convert -O qcow2 -o cluster_size=4k --target-format-options compat=0.10 disk.raw copy.qcow2
    ok "$CAIRN_IMG" info copy.qcow2
    says "cluster_size: 4096"
    says "compat: 0.10"
    ok "$CAIRN_IMG" convert -O qcow2 -o help
    says "Supported qcow2 options:"
    fails 1 "$CAIRN_IMG" convert -O qcow2 -o foo=1 disk.raw copy2.qcow2
    says "'foo'"
    says "copy2.qcow2"
    [ ! -e copy2.qcow2 ]
}

@test "convert -b writes only what differs from the backing file; -B is the old spelling" {
    ok "$CAIRN_IMG" convert -O qcow2 disk.raw base.qcow2
    cp disk.raw new.raw
    printf changed | dd of=new.raw bs=1 seek=1M conv=notrunc status=none
    local letter
    for letter in -b -B --backing; do
        ok "$CAIRN_IMG" convert -O qcow2 $letter base.qcow2 -F qcow2 new.raw overlay.qcow2
        [ "$(stat -c %s overlay.qcow2)" -le 524288 ]
        ok "$CAIRN_IMG" compare new.raw overlay.qcow2
    done
    fails 1 "$CAIRN_IMG" convert -O qcow2 -b base.qcow2 new.raw overlay.qcow2
    says "explicit backing format"
}

@test "convert -n writes into an existing target and needs it large enough" {
    ok "$CAIRN_IMG" create -q target.raw 4M
    local inode
    inode=$(stat -c %i target.raw)
    ok "$CAIRN_IMG" convert -n disk.raw target.raw
    cmp disk.raw target.raw
    [ "$(stat -c %i target.raw)" = "$inode" ]
    ok "$CAIRN_IMG" create -q small.raw 1M
    fails 1 "$CAIRN_IMG" convert --no-create disk.raw small.raw
    says "output file is smaller than input file"
    fails 1 "$CAIRN_IMG" convert -n disk.raw nothing.raw
    says "Could not open 'nothing.raw'"
    fails 1 "$CAIRN_IMG" convert -n -o size=1M disk.raw target.raw
    says "-o has no effect when skipping image creation"
}

@test "convert -n overwrites what the target held" {
    head -c 4M /dev/urandom >target.raw
    ok "$CAIRN_IMG" convert -n disk.raw target.raw
    cmp disk.raw target.raw
}

@test "convert --target-is-zero needs -n and writes no zeroes" {
    fails 1 "$CAIRN_IMG" convert --target-is-zero disk.raw copy.raw
    says "--target-is-zero requires use of -n flag"
    truncate -s 4M target.raw
    ok "$CAIRN_IMG" convert -n --target-is-zero disk.raw target.raw
    cmp disk.raw target.raw
    [ "$(stat -c %b target.raw)" -lt 1024 ]
}

@test "convert --image-opts and --target-image-opts take option lists" {
    ok "$CAIRN_IMG" create -q -f qcow2 target.qcow2 4M
    ok "$CAIRN_IMG" convert --image-opts -n --target-image-opts driver=raw,file.filename=disk.raw \
        driver=qcow2,file.filename=target.qcow2
    ok "$CAIRN_IMG" compare disk.raw target.qcow2
    fails 1 "$CAIRN_IMG" convert --target-image-opts disk.raw driver=raw,file.filename=x
    says "--target-image-opts requires use of -n flag"
    fails 1 "$CAIRN_IMG" convert --image-opts -f raw driver=raw,file.filename=disk.raw x
    says "mutually exclusive"
}

@test "convert takes every cache mode, and the last one wins" {
    local mode
    for mode in writeback writethrough unsafe; do
        ok "$CAIRN_IMG" convert -t "$mode" -T "$mode" disk.raw copy.raw
        cmp disk.raw copy.raw
    done
    ok "$CAIRN_IMG" convert -t nothing --target-cache=writeback -T x --source-cache unsafe disk.raw copy.raw
    fails 1 "$CAIRN_IMG" convert -t fast disk.raw copy.raw
    says "fast"
}

@test "convert --rate-limit slows down" {
    head -c 3M /dev/urandom >data.raw
    local before=$EPOCHREALTIME after
    ok "$CAIRN_IMG" convert -r 2M data.raw copy.raw
    after=$EPOCHREALTIME
    cmp data.raw copy.raw
    [ $(((${after/./} - ${before/./}) / 1000)) -ge 300 ]
    fails 1 "$CAIRN_IMG" convert --rate-limit=x data.raw copy.raw
    says "is not a size"
}

@test "convert -C copies through the file system" {
    ok "$CAIRN_IMG" convert -C disk.raw copy.raw
    cmp disk.raw copy.raw
    [ "$(stat -c %b copy.raw)" -lt 1024 ]
    fails 1 "$CAIRN_IMG" convert -C -c -O qcow2 disk.raw copy.qcow2
    says "Cannot enable copy offloading when -c is used"
    fails 1 "$CAIRN_IMG" convert --copy-range-offloading -S 4k disk.raw copy.raw
    says "Cannot enable copy offloading when -S is used"
}

@test "convert refuses by name what is not built" {
    fails 1 "$CAIRN_IMG" convert --bitmaps disk.raw copy.raw
    says "--bitmaps"
    fails 1 "$CAIRN_IMG" convert --skip-broken-bitmaps disk.raw copy.raw
    says "Use of --skip-broken-bitmaps requires --bitmaps"
    [ ! -e copy.raw ]
}

@test "convert -U reads an image that another process writes to" {
    hold_image disk.raw
    fails 1 "$CAIRN_IMG" convert disk.raw copy.raw
    says "lock"
    [ ! -e copy.raw ]
    ok "$CAIRN_IMG" convert -U disk.raw copy.raw
    cmp disk.raw copy.raw
}

@test "convert takes options after the names" {
    ok "$CAIRN_IMG" convert disk.raw copy.qcow2 -p -O qcow2 -t none -t writeback
    ok "$CAIRN_IMG" info copy.qcow2
    says "file format: qcow2"
}

@test "convert wants a source and a target" {
    fails 1 "$CAIRN_IMG" convert
    says "convert wants SOURCE... TARGET"
    fails 1 "$CAIRN_IMG" convert disk.raw
    says "convert wants SOURCE... TARGET"
}

@test "convert --salvage writes zeroes where a source cannot be read" {
    head -c 1M /dev/zero | tr '\0' a >soft.raw
    "$CAIRN_IMG" convert -c -O qcow2 -o compression_type=zstd soft.raw broken.qcow2
    python3 - <<'PY'
data = open("broken.qcow2", "rb").read()
first = data.index(b"\x28\xb5\x2f\xfd")  # the magic number of the first zstd frame
open("broken.qcow2", "wb").write(data[:first] + b"BAD!" + data[first + 4:])
PY
    fails 1 "$CAIRN_IMG" convert broken.qcow2 copy.raw
    says "broken.qcow2"
    [ ! -e copy.raw ]
    run "$CAIRN_IMG" convert --salvage broken.qcow2 copy.raw
    [ "$status" = 0 ]
    says "error while reading offset 0: "
    head -c 64k /dev/zero | cmp -n 65536 - copy.raw
    cmp -i 65536 soft.raw copy.raw
}
