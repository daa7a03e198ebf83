load ../helper

# A link to the program under another name.
as_qemu_img() {
    ln -sf "$CAIRN_IMG" qemu-img
}

@test "--help has one usage line a command, as libguestfs looks for it" {
    ok "$CAIRN_IMG" --help
    grep -E '\binfo\b.*-U\b' <<<"$output"
    says "Supported formats:"
    says "raw"
}

@test "every command has --help and -h" {
    local command
    for command in $("$CAIRN_IMG" --help | sed -n '/^Commands:/,/^Usage of/s/^  \([a-z]*\) .*/\1/p'); do
        ok "$CAIRN_IMG" "$command" --help
        says "cairn-img $command ["
        ok "$CAIRN_IMG" "$command" -h
    done
}

@test "under the name qemu-img the version is one that scripts expect" {
    as_qemu_img
    ok ./qemu-img --version
    [[ $output =~ ^qemu-img\ version\ [0-9]+\.[0-9.]+\ \(cairn\ [0-9.]+\)$ ]]
    ok "$CAIRN_IMG" -V
    says "cairn-img version "
}

@test "errors begin with the name it was called by" {
    as_qemu_img
    fails 1 ./qemu-img info nothing
    [ "$output" = "qemu-img: Could not open 'nothing': No such file or directory" ]
}

@test "an unknown command is refused and a near one named" {
    fails 1 "$CAIRN_IMG" creat
    says "Command not found: creat; did you mean 'create'?"
    fails 1 "$CAIRN_IMG"
    says "no command given"
}

@test "an unknown option is refused and a near one named" {
    fails 1 "$CAIRN_IMG" info --outptu=json x
    says "unknown option '--outptu'; did you mean '--output'?"
    fails 1 "$CAIRN_IMG" info -Z x
    says "unknown option '-Z'"
    fails 1 "$CAIRN_IMG" --bogus info x
    says "unknown option '--bogus'"
}

@test "--trace prints trace points to the file" {
    truncate -s 1M disk.raw
    ok "$CAIRN_IMG" --trace 'enable=*,file=trace.txt' info disk.raw
    [ -e trace.txt ]
    fails 1 "$CAIRN_IMG" --trace file=trace.txt info disk.raw
    says "wants a pattern"
}

@test "output that cannot be written is an error" {
    truncate -s 1M disk.raw
    run bash -c '"$CAIRN_IMG" info disk.raw >/dev/full'
    [ "$status" = 1 ]
    says "No space left on device"
}
