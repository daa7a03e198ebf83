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
    golden_damage leak 0x40000 0000000000000000
    golden_damage high 0x2000a 0003
    golden_damage low 0x2000a 0000
    golden_damage flag 0x40000 0000000000050000
    golden_damage past 0x40000 8000001000050000
    golden_damage marked 72 0000000000000003
    "$qemu" create -q -f qcow2 snap.qcow2 10M
    "$io" -c 'write -q -P 7 1M 100k' -c 'write -q -b -P 8 0 1234944' snap.qcow2
    "$qemu" snapshot -c first snap.qcow2
    "$qemu" snapshot -c 'a name longer than its column' snap.qcow2
    cp v3.qcow2 size.qcow2
    cp v2.qcow2 size-v2.qcow2
    "$qemu" snapshot -c one size-v2.qcow2
    cp holes.raw size.raw
    truncate -s %512 lazy.qcow2 snap.qcow2 # 11.1 shows whole sectors, we show bytes
}

# golden_damage NAME OFFSET HEX: NAME.qcow2 is meta.qcow2 with some bytes changed, NAME-2.qcow2 the same.
golden_damage() {
    cp meta.qcow2 "$1.qcow2"
    printf "$(sed 's/../\\x&/g' <<<"$3")" | dd of="$1.qcow2" bs=1 seek=$(($2)) conv=notrunc status=none
    cp "$1.qcow2" "$1-2.qcow2"
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
    for image in v3 v2 lazy meta over top zlib zstd leak high flag past; do
        echo "check-$image|check $image.qcow2"
        echo "check-$image-json|check --output=json $image.qcow2"
    done
    for image in leak high flag past marked; do
        echo "check-leaks-$image|check -r leaks $image.qcow2"
        echo "check-all-$image|check -r all $image-2.qcow2"
        echo "check-after-$image|check $image-2.qcow2"
    done
    cat <<'END'
check-low|check low.qcow2
check-low-json|check --output json -U -f qcow2 low.qcow2
check-quiet|check -q low.qcow2
check-repair-json|check --repair=all --output=json leak.qcow2
check-raw|check -f raw holes.raw
check-missing|check missing.qcow2
check-options|check --image-opts driver=qcow2,file.filename=top.qcow2
check-bad-repair|check -r some v3.qcow2
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
convert-snapshot|convert -l first -O raw snap.qcow2 out.raw
convert-snapshot-id|convert -l snapshot.id=2 -O raw snap.qcow2 out.raw
convert-snapshot-both|convert --snapshot snapshot.id=1,snapshot.name=first -O raw snap.qcow2 out.raw
convert-snapshot-not|convert -l snapshot.id=2,snapshot.name=first -O raw snap.qcow2 out.raw
convert-snapshot-none|convert -l first -O raw v3.qcow2 out.raw
info-snap|info snap.qcow2
info-snap-json|info --output=json snap.qcow2
snapshot-list|snapshot -l snap.qcow2
snapshot-default|snapshot -U snap.qcow2
snapshot-none|snapshot -l v3.qcow2
snapshot-raw|snapshot -l -f raw holes.raw
snapshot-raw-create|snapshot -f raw -c one holes.raw
snapshot-create|snapshot -c third snap.qcow2
snapshot-twice|snapshot -q --create third snap.qcow2
snapshot-list-four|snapshot --list --image-opts driver=qcow2,file.filename=snap.qcow2
snapshot-apply|snapshot -a first snap.qcow2
snapshot-apply-id|snapshot --apply=3 snap.qcow2
snapshot-apply-missing|snapshot -a nope snap.qcow2
snapshot-delete|snapshot -d first snap.qcow2
snapshot-delete-twin|snapshot --delete third snap.qcow2
snapshot-delete-missing|snapshot -d first snap.qcow2
snapshot-mixed|snapshot -l -c x snap.qcow2
snapshot-list-two|snapshot -l snap.qcow2
resize-grow|resize size.qcow2 20M
resize-plus|resize -f qcow2 size.qcow2 +1M
resize-same|resize size.qcow2 +0
resize-metadata|resize --preallocation=metadata size.qcow2 40M
resize-info|info size.qcow2
resize-odd|resize size.qcow2 +1
resize-no-shrink|resize size.qcow2 5M
resize-shrink|resize --shrink size.qcow2 5M
resize-minus|resize --shrink size.qcow2 -1M
resize-minus-all|resize --shrink size.qcow2 -1G
resize-shrink-mode|resize --shrink --preallocation=full size.qcow2 -1M
resize-quiet|resize -q size.qcow2 8M
resize-map|map --output=json size.qcow2
resize-v2|resize size-v2.qcow2 20M
resize-raw|resize -f raw size.raw 4M
resize-raw-full|resize -f raw --preallocation=full size.raw +100k
resize-raw-metadata|resize -f raw --preallocation=metadata size.raw +100k
resize-raw-shrink|resize -f raw --shrink size.raw 10k
resize-raw-info|info -f raw size.raw
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
bench-read|bench -c 100 -d 4 -s 8k -S 16k -o 4k v3.qcow2
bench-write|bench -w -c 100 --pattern 3 v2.qcow2
bench-flush|bench -w -c 100 -d 2 --flush-interval 4 --no-drain v2.qcow2
bench-past-end|bench -c 10 -o 1G v3.qcow2
bench-wrong|bench -c 0 v3.qcow2
dd|dd -O qcow2 if=v3.qcow2 of=new.qcow2 bs=64k count=3
dd-wrong|dd if=v3.qcow2
measure-size|measure -O qcow2 --size 1G
measure-size-json|measure -O qcow2 -o cluster_size=4k,refcount_bits=1 --output json --size 1G
measure-raw|measure holes.raw
measure-over|measure -O qcow2 -o compat=0.10 over.qcow2
measure-bitmaps|measure -O qcow2 --output=json zlib.qcow2
measure-none|measure -O qcow2
measure-twice|measure --size 1M holes.raw
measure-format|measure -O file --size 1M
commit-quiet|commit -q -d top.qcow2
commit-base|commit -b v3.qcow2 top.qcow2
commit-other|commit -b v2.qcow2 top.qcow2
commit-none|commit v3.qcow2
rebase-progress|rebase -u -p -b v3.qcow2 -F qcow2 over.qcow2
rebase-missing|rebase over.qcow2
rebase-format|rebase -b v3.qcow2 over.qcow2
amend-quiet|amend -p -q -o refcount_bits=64 v3.qcow2
amend-down|amend -o compat=0.10 over.qcow2
amend-width|amend -o refcount_bits=64 v2.qcow2
amend-cluster|amend -o cluster_size=4k v3.qcow2
amend-backing|amend -o backing_file=v2.qcow2,backing_fmt=qcow2 over.qcow2
amend-raw|amend -f raw -o size=1M holes.raw
amend-nothing|amend v3.qcow2
END
}

# ---- cairn-io ----

golden_io_images() {
    golden_images
    truncate -s 1M plain.raw
    "${QEMU_IO:-qemu-io}" -f raw -c 'write -q -P 3 64k 4k' plain.raw
    printf abc >source
    printf '[inject-error]\nevent = "write_aio"\nerrno = "28"\n' >full.conf
}

# NAME|OPTIONS AND FILE|COMMAND;;COMMAND...
golden_io_cases() {
    cat <<'END'
read|v3.qcow2|read 0 64k;;read -P 1 64k 200k;;read -P 2 64k 64k;;read -P 1 -s 64k 0 128k;;read -P 1 -l 64k 0 128k
read-dump|v3.qcow2|read -v 65530 12;;read -v -P 1 64k 40;;read -q -v 0 8;;readv -v 64k 4 8 20
read-terse|v3.qcow2|read -C 0 4k;;read -C -q 0 4k;;read -p 0 4k;;read -r 1 3;;read 0 0
read-wrong|v3.qcow2|read 10M 1k;;read 0 1t;;read a 1;;read -P 300 0 1;;read -P x 0 1;;read -l 10 0 4k;;read -P 1 -s 3k -l 2k 0 4k;;read 0 1 2;;read 0;;read -x 0 1;;read 0 -1
read-state-wrong|v3.qcow2|read -b 1 512;;read -b 0 1;;write -b 1 512;;write -c 0 1;;write -c 1 64k
read-state|v3.qcow2|write -b -P 4 0 64k;;read -b -P 4 0 64k;;read -b -P 0 64k 512;;read -P 0 0 64k;;write -b -P 5 1M 1k;;read -b -P 5 1M 1k;;map
numbers|v3.qcow2|read -- -1 1;;read -- 0 -1;;read 1.5k 512;;read 99999999999999999999999 1;;read 8E 1;;read 1k 1kk;;read 0x200 0x10;;read 0 1B;;read 0 1b;;read 0 .5k;;read 0 1e3;;read 0 0x
write|v3.qcow2|write 0 64k;;write -P 7 3 512;;write -P 0x10 4k 1k;;write -P 010 8k 1k;;read -P 8 8k 1k;;write -C 0 1k;;write -q 0 1;;write 0 3;;write 10M 1k
write-zero|v3.qcow2|write -z 64k 64k;;write -zu 128k 64k;;write -z 1 3;;read -P 0 128k 64k;;map
write-file|v3.qcow2|write -s source 0 10;;read -v 0 16;;write -s none 0 10;;write -s /dev/null 0 1k
write-wrong|v3.qcow2|write -P 1 -z 0 64k;;write -u 0 64k;;write -n 0 4k;;write -s source -P 1 0 10;;write -bz 0 64k;;write -fc 0 64k;;write -z 0 4G;;write 0 4G
write-fua|v3.qcow2|write -f 0 512;;write -fz 0 1k
writev|v3.qcow2|writev 0 4k 8k 512;;readv -P 205 0 4k 8k;;writev 0 3;;writev 0;;writev -P 300 0 1;;writev -x 0 1;;writev 10M 1;;readv 0 3G;;readv 0 1G 1G 1G;;readv 10M 1;;readv 0 x
write-packed|v3.qcow2|write -c 8M 64k;;write -c 0 1k;;read -P 205 8M 64k
discard|v3.qcow2|discard 64k 64k;;discard -q 0 64k;;discard -C 0 64k;;discard 0 3;;discard 100M 1;;discard 0 4G;;discard 0 x;;discard
flush|v3.qcow2|flush
length|v3.qcow2|length;;truncate 20M;;length;;truncate -m foo 22M;;truncate x;;truncate;;truncate 9E
info|v3.qcow2|info
info-v2|v2.qcow2|info
info-raw|-f raw plain.raw|info;;map;;alloc 0;;alloc 0 1M
info-file|--image-opts driver=file,filename=plain.raw|info;;map
map|v3.qcow2|map
map-overlay|over.qcow2|map;;read -P 1 64k 64k;;write 64k 1k;;map
alloc|v3.qcow2|alloc 0 128k;;alloc 64k;;alloc 3;;alloc 64k 3;;alloc 100M;;alloc 0 100M;;alloc x;;alloc 0 x;;alloc 0 -1;;alloc 9M 2M;;alloc 0 0
aio|v3.qcow2|aio_write 0 64k;;aio_flush;;aio_read -P 205 0 64k;;aio_flush;;aio_read -P 1 0 64k;;aio_flush;;aio_read -v 0 16;;aio_flush;;aio_discard 0 64k;;aio_flush
aio-zero|v3.qcow2|aio_write -z -q 64k 64k;;aio_flush;;aio_read -P 0 64k 64k;;aio_flush
aio-wrong|v3.qcow2|aio_read 0;;aio_read x 1;;aio_read 10M 1k;;aio_flush;;aio_write 10M 1k;;aio_flush;;aio_read -i 0 1;;aio_write -i 0 1;;aio_write -z 0 1k 1k;;aio_write -u 0 1;;aio_discard 10M 1;;aio_flush
no-file||length;;close;;info;;map;;flush;;alloc 0;;discard 0 1k;;truncate 1;;read 0 1
open||open v3.qcow2;;length;;open plain.raw;;close;;close;;open none;;open -x;;open a b;;open
open-read-only||open -r v3.qcow2;;write 0 1k;;truncate 1M;;discard 0 1k;;flush
open-options||open -o driver=raw v3.qcow2;;info;;close;;open -o driver=qcow2,file.filename=v2.qcow2;;length
open-snapshot||open -s v3.qcow2;;write -P 9 64k 64k;;read -P 9 64k 64k;;close;;open v3.qcow2;;read -P 1 64k 64k
reopen|v3.qcow2|reopen;;reopen -r;;write 0 1k;;reopen -w;;write 0 1k;;reopen -c none;;reopen -c foo;;reopen -r -w;;reopen -x;;reopen a;;reopen -r -r
missing|none.qcow2|length
probed|plain.raw|length
read-only|-r v3.qcow2|write 0 1;;read 0 1
bad-aio|-i foo v3.qcow2|length
bad-cache|-t foo v3.qcow2|length
bad-discard|-d foo v3.qcow2|length
bad-format|-f foo v3.qcow2|length
native|-i native v3.qcow2|length
uncached|-k -n v3.qcow2|read 0 1
options|--image-opts driver=qcow2,file.filename=v3.qcow2|length
options-format|--image-opts -f qcow2 driver=qcow2,file.filename=v3.qcow2|length
misalign|-m v3.qcow2|read 0 512;;write -q 1 3;;read -P 205 1 3
share|-U -r v3.qcow2|read 0 1
copy-on-read|-C over.qcow2|map;;read -P 1 64k 64k;;map
copy-on-read-only|-C -r over.qcow2|map
snapshot|-s v3.qcow2|write -q 0 64k;;info
break|blkdebug::v3.qcow2|break write_aio A;;aio_write 0 64k;;wait_break A;;resume A;;aio_flush;;resume A;;remove_break A;;break foo B
break-two|blkdebug::v3.qcow2|break write_aio A;;break write_aio B;;remove_break A;;aio_write 0 64k;;wait_break B;;resume B;;aio_flush
no-break|v3.qcow2|break write_aio A;;resume A;;remove_break A;;wait_break
no-rules|blkdebug:none.conf:v3.qcow2|length
sleep|v3.qcow2|sleep 1;;sleep x;;sleep
signal|v3.qcow2|sigraise x;;sigraise 0;;sigraise;;sigraise 15
words|v3.qcow2|length x;;close x;;map x;;bogus;;;;q;;length
alias|v3.qcow2|write -P 7 0 512;;r -P 7 0 512;;w -q 0 1;;a 0;;l;;i;;f;;c
compress-file|--image-opts driver=compress,file.filename=plain.raw|length
END
}

# golden_io_run PROGRAM OPTIONS COMMANDS: over fresh copies of the images in ../images; rates, times and the
# program's name masked.
golden_io_run() {
    local status=0 words=() commands=() line
    rm -rf work && cp -r images work
    read -ra words <<<"$2"
    while read -r line; do commands+=(-c "$line"); done <<<"${3//;;/$'\n'}"
    (cd work && exec "$1" "${commands[@]}" "${words[@]}") </dev/null >.stdout 2>.stderr || status=$?
    sed -E 's/; [0-9:.]+( sec)? \([0-9.inf]+ [A-Za-z]+\/sec and [0-9.inf]+ ops\/sec\)/; TIME (RATE)/
            s/^([0-9]+,1),.*/\1,TIME,RATES/' .stdout
    sed -E 's/^/stderr: /; s/qemu-io(-peer)?:/PROGRAM:/; s/cairn-io:/PROGRAM:/' .stderr
    echo "status $status"
}

# golden_run PROGRAM COMMAND: its stdout and exit status, with what depends on the file system taken out;
# a JSON object with its keys sorted.
golden_run() {
    local status=0 words=()
    read -ra words <<<"$2"
    "$1" "${words[@]}" >.stdout 2>/dev/null || status=$?
    sed -i -E 's/in [0-9.]+ seconds/in N seconds/' .stdout
    if [[ $2 == info*json* && $2 != *json:* ]]; then
        python3 -m json.tool --sort-keys .stdout >.sorted && mv .sorted .stdout
    fi
    sed -E 's/"actual-size": [0-9]+/"actual-size": N/; s/"date-(n?sec)": [0-9]+/"date-\1": N/
        s/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}/DATE/; s/disk size: .*/disk size: N/' .stdout
    echo "status $status"
}
