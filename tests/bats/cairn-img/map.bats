load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 128k /dev/urandom >disk.raw
    truncate -s 1M disk.raw
}

@test "map shows where data is" {
    ok "$CAIRN_IMG" map disk.raw
    [ "$output" = "Offset          Length          Mapped to       File
0               0x20000         0               disk.raw" ]
}

@test "map --output=json shows every range" {
    ok "$CAIRN_IMG" map --output=json disk.raw
    [ "$output" = '[{ "start": 0, "length": 131072, "depth": 0, "present": true, "zero": false, "data": true, "compressed": false, "offset": 0},
{ "start": 131072, "length": 917504, "depth": 0, "present": true, "zero": true, "data": false, "compressed": false, "offset": 131072}]' ]
}

@test "map -s and -l show a part" {
    ok "$CAIRN_IMG" map --output=json -s 64k -l 128k disk.raw
    [ "$output" = '[{ "start": 65536, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true, "compressed": false, "offset": 65536},
{ "start": 131072, "length": 65536, "depth": 0, "present": true, "zero": true, "data": false, "compressed": false, "offset": 131072}]' ]
    ok "$CAIRN_IMG" map --start-offset=64k --max-length=4k disk.raw
    says "0x10000         0x1000          0x10000         disk.raw"
}

@test "map past the end is empty" {
    ok "$CAIRN_IMG" map -s 2M disk.raw
    [ "$output" = "Offset          Length          Mapped to       File" ]
    ok "$CAIRN_IMG" map -s 2M --output=json disk.raw
    [ "$output" = '[{ "start": 2097152, "length": 0, "depth": 0, "present": false, "zero": false, "data": false, "compressed": false}]' ]
}

@test "map shows offsets in the file behind an offset option" {
    ok "$CAIRN_IMG" map --image-opts driver=raw,offset=64k,file.filename=disk.raw
    says "0               0x10000         0x10000         "
}

@test "map refuses what is no size" {
    fails 1 "$CAIRN_IMG" map -s x disk.raw
    says "option '-s': 'x' is not a size"
    fails 1 "$CAIRN_IMG" map -l x disk.raw
    says "option '--max-length': 'x' is not a size"
}

@test "map of a missing file fails" {
    fails 1 "$CAIRN_IMG" map -f raw nothing.raw
    says "Could not open 'nothing.raw': No such file or directory"
}

@test "map shows the layers of a chain" {
    "$CAIRN_IMG" create -q -f qcow2 -b disk.raw -F raw top.qcow2 2M
    ok "$CAIRN_IMG" map top.qcow2
    [ "$output" = "Offset          Length          Mapped to       File
0               0x20000         0               disk.raw" ]
    ok "$CAIRN_IMG" map --output=json top.qcow2
    [ "$output" = '[{ "start": 0, "length": 131072, "depth": 1, "present": true, "zero": false, "data": true, "compressed": false, "offset": 0},
{ "start": 131072, "length": 917504, "depth": 1, "present": true, "zero": true, "data": false, "compressed": false, "offset": 131072},
{ "start": 1048576, "length": 1048576, "depth": 0, "present": false, "zero": true, "data": false, "compressed": false}]' ]
}

@test "map for people refuses compressed clusters, JSON shows them" {
    "$CAIRN_IMG" convert -c -O qcow2 disk.raw packed.qcow2
    head -c 1M /dev/zero | tr '\0' a >soft.raw
    "$CAIRN_IMG" convert -c -O qcow2 soft.raw packed.qcow2
    fails 1 "$CAIRN_IMG" map packed.qcow2
    says "File contains external, encrypted or compressed clusters"
    ok "$CAIRN_IMG" map --output=json packed.qcow2
    [ "$output" = '[{ "start": 0, "length": 1048576, "depth": 0, "present": true, "zero": false, "data": true, "compressed": true}]' ]
}
