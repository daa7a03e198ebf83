#!/usr/bin/env bats
# cairn-img bench: the right requests in the right places; how long they take is nobody's business here.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    "$CAIRN_IMG" create -q -f qcow2 disk.qcow2 1M
}

# The requests that a bench sends, as blklog records them: "write OFFSET LENGTH" and "flush" a line.
requests() {
    ok "$CAIRN_IMG" bench -q --image-opts "$@" driver=blklog,log=log,file.filename=disk.raw
    python3 - <<'END'
import struct
log, at = open('log', 'rb').read(), 16
while at < len(log):
    kind, flags, offset, length, data = struct.unpack_from('<IIQQQ', log, at)
    if kind == 1:
        print('write', offset, length, set(log[at + 32:at + 32 + data]))
    elif kind == 4:
        print('flush')
    at += 32 + data
END
}

@test "it says what it does, and for how long" {
    ok "$CAIRN_IMG" bench -c 100 -d 4 -s 8k -S 16k -o 4k disk.qcow2
    [[ $output =~ ^"Sending 100 read requests, 8192 bytes each, 4 in parallel (starting at offset 4096, step size 16384)"$'\n'"Run completed in "[0-9]+\.[0-9]{3}" seconds."$ ]]
    ok "$CAIRN_IMG" bench -w -c 10 -d 2 --flush-interval 4 disk.qcow2
    says "Sending flush every 4 requests"
    ok "$CAIRN_IMG" bench -q -c 10 disk.qcow2
    [ -z "$output" ]
}

@test "writes go where they should, and start again at the image's end" {
    require python3
    truncate -s 40k disk.raw
    requests -w -c 5 -d 1 -s 8k -S 16k -o 4k --pattern 7 >got
    cat >want <<'END'
write 4096 8192 {7}
write 20480 8192 {7}
write 0 8192 {7}
write 16384 8192 {7}
write 32768 8192 {7}
END
    diff want <(grep write got)
}

@test "flushes come after so many writes" {
    require python3
    truncate -s 1M disk.raw
    requests -w -c 6 -d 2 --flush-interval 2 >got
    [ "$(head -8 got | cut -d' ' -f1 | tr '\n' ' ')" = "write write flush write write flush write write " ]
    requests -w -c 6 -d 2 --flush-interval 2 --no-drain >got
    [ "$(grep -c write got)" = 6 ]
    [ "$(grep -c flush got)" -ge 2 ]
}

@test "every way to access files works" {
    local words
    for words in "-i threads" "-i io_uring" "-t none" "-t directsync" "-U" "--image-opts"; do
        # shellcheck disable=SC2086
        if [ "$words" = --image-opts ]; then
            ok "$CAIRN_IMG" bench -q -c 10 $words driver=qcow2,file.filename=disk.qcow2
        else
            ok "$CAIRN_IMG" bench -q -c 10 $words disk.qcow2
        fi
    done
    fails 1 "$CAIRN_IMG" bench -n disk.qcow2
    says "requires cache.direct=on"
}

@test "wrong numbers are refused by name" {
    local words message
    while IFS='|' read -r words message; do
        # shellcheck disable=SC2086
        fails 1 "$CAIRN_IMG" bench $words disk.qcow2
        says "$message"
    done <<'END'
-c 0|Invalid request count specified. Must be between 1 and 2147483647.
-c x|Invalid request count specified: 'x'
-d 0|Invalid queue depth specified. Must be between 1 and 2147483647.
-s 0|Invalid buffer size specified. Must be between 1 and 2147483647.
-s 3G|Invalid buffer size specified. Must be between 1 and 2147483647.
-S x|Invalid step size specified: 'x'
-o x|Invalid offset specified: 'x'
-w --pattern 300|Invalid pattern byte specified. Must be between 0 and 255.
--flush-interval 5|--flush-interval is only available in write tests
-w --flush-interval 16|Flush interval can't be smaller than depth
-i foo|Invalid aio option: foo
-t foo|invalid cache mode 'foo'
-d 2147483647 -s 2147483647|no memory
END
}

@test "a request that fails ends it" {
    fails 1 "$CAIRN_IMG" bench -q -o 100M disk.qcow2
    says "Failed request: Input/output error"
    fails 1 "$CAIRN_IMG" bench -q -s 2M disk.qcow2
    says "Failed request"
}
