load ../helper


@test "resize: absolute and relative sizes, in both spellings" {
    ok "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
    for step in "2M 2097152" "+1M 3145728" "4194304 4194304" "5120K 5242880" "6291456b 6291456"; do
        ok "$CAIRN_IMG" resize -f qcow2 a.qcow2 ${step% *}
        [ "$output" = "Image resized." ]
        ok "$CAIRN_IMG" info -f qcow2 a.qcow2
        says "(${step#* } bytes)"
    done
    ok "$CAIRN_IMG" resize --quiet --shrink --image-opts driver=qcow2,file.filename=a.qcow2 -2M
    [ -z "$output" ]
    ok "$CAIRN_IMG" info -f qcow2 a.qcow2
    says "(4194304 bytes)"
}

@test "resize: shrinking wants --shrink" {
    for format in raw qcow2; do
        ok "$CAIRN_IMG" create -q -f $format a.$format 3M
        fails 1 "$CAIRN_IMG" resize -f $format a.$format 1M
        says "Use the --shrink option to perform a shrink operation."
        ok "$CAIRN_IMG" info -f $format a.$format
        says "3 MiB"
        ok "$CAIRN_IMG" resize -q -f $format --shrink a.$format 1M
        ok "$CAIRN_IMG" info -f $format a.$format
        says "1 MiB"
    done
}

@test "resize: each mode of preallocation" {
    for mode in off metadata falloc full; do
        ok "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
        ok "$CAIRN_IMG" resize -q --preallocation=$mode a.qcow2 3M
        ok "$CAIRN_IMG" check a.qcow2
        [ $mode = off ] || says "32/48"
        [ $mode = metadata ] || [ $mode = off ] || [ "$(stat -c %b a.qcow2)" -ge 4096 ]
    done
    for mode in off falloc full; do
        ok "$CAIRN_IMG" create -q a.raw 1M
        ok "$CAIRN_IMG" resize -q -f raw --preallocation $mode a.raw 3M
        [ "$(stat -c %s a.raw)" = 3145728 ]
        [ $mode = off ] || [ "$(stat -c %b a.raw)" -ge 4096 ]
    done
}

@test "resize: what cannot be done is said, and nothing is changed" {
    ok "$CAIRN_IMG" create -q -f qcow2 a.qcow2 1M
    before=$(sha256sum a.qcow2)
    while IFS='|' read -r words message; do
        fails 1 "$CAIRN_IMG" resize $words
        says "$message"
    done <<'END'
a.qcow2 xyz|'xyz' is not a size
a.qcow2 -1M|New image size must be positive
--shrink a.qcow2 -2M|New image size must be positive
a.qcow2 0|New image size must be positive
a.qcow2 +1|must be a multiple of 512
--shrink --preallocation=full a.qcow2 512k|Preallocation can only be used for growing images
--preallocation=some a.qcow2 2M|'some'
a.qcow2 7E|
missing.qcow2 1M|Could not open 'missing.qcow2'
a.qcow2|SIZE
a.qcow2 1M 2M|
-U a.qcow2 2M|-U
END
    [ "$before" = "$(sha256sum a.qcow2)" ]
}

@test "resize: version 2 cannot keep sizes of snapshots, version 3 can" {
    ok "$CAIRN_IMG" create -q -f qcow2 -o compat=0.10 old.qcow2 1M
    ok "$CAIRN_IMG" snapshot -c one old.qcow2
    fails 1 "$CAIRN_IMG" resize old.qcow2 2M
    says "Can't resize a v2 image which has snapshots"
    ok "$CAIRN_IMG" create -q -f qcow2 new.qcow2 1M
    ok "$CAIRN_IMG" snapshot -c one new.qcow2
    ok "$CAIRN_IMG" resize -q new.qcow2 2M
    ok "$CAIRN_IMG" snapshot -a one new.qcow2
    ok "$CAIRN_IMG" info new.qcow2
    says "virtual size: 1 MiB"
}

@test "resize: a raw image that was only guessed gets a warning" {
    truncate -s 1M a.raw
    run "$CAIRN_IMG" resize a.raw 2M
    [ "$status" = 0 ]
    says "WARNING: Image format was not specified for 'a.raw' and probing guessed raw."
    ok "$CAIRN_IMG" resize -f raw a.raw 3M
}

@test "resize: the file of a shrunken image gets shorter" {
    head -c 4M /dev/urandom >a.raw
    ok "$CAIRN_IMG" convert -f raw -O qcow2 a.raw a.qcow2
    ok "$CAIRN_IMG" resize -q --shrink a.qcow2 1M
    [ "$(stat -c %s a.qcow2)" -lt 2000000 ]
    ok "$CAIRN_IMG" check -q a.qcow2
    truncate -s 1M a.raw
    ok "$CAIRN_IMG" compare -q -f raw -F qcow2 a.raw a.qcow2
}
