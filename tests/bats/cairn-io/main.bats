#!/usr/bin/env bats
# cairn-io as a program: where its commands come from, what it exits with, what it says about itself.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    "$CAIRN_IMG" create -q -f qcow2 disk.qcow2 10M
}

@test "commands come from -c, or from standard input one a line" {
    ok "$CAIRN_IO" -c length -c 'write -q 0 64k' disk.qcow2
    [ "$output" = "10 MiB" ]
    ok "$CAIRN_IO" disk.qcow2 <<<$'length\n\n  read -q   0 512\nquit\nlength'
    [ "$output" = "10 MiB" ]
    ok "$CAIRN_IO" disk.qcow2 < <(printf 'length\nlength')
    [ "$output" = $'10 MiB\n10 MiB' ]
}

@test "under the name qemu-io it prompts, as test suites expect" {
    ln -s "$CAIRN_IO" qemu-io
    ok ./qemu-io disk.qcow2 <<<$'length\nq'
    [ "$output" = "qemu-io> 10 MiB
qemu-io> " ]
    fails 1 ./qemu-io none.qcow2
    [ "$output" = "qemu-io: can't open device none.qcow2: Could not open 'none.qcow2': No such file or directory" ]
    ok ./qemu-io --version
    [[ $output =~ ^qemu-io\ version\ [0-9]+\.[0-9.]+\ \(cairn ]]
}

@test "a failed command is the exit status, and the next ones still run" {
    fails 1 "$CAIRN_IO" -c 'read -P 9 0 512' -c length disk.qcow2
    says "10 MiB"
    fails 1 "$CAIRN_IO" -c bogus -c length disk.qcow2
    says 'command "bogus" not found'
    says "10 MiB"
    fails 1 "$CAIRN_IO" disk.qcow2 <<<$'read x 1\nlength'
    says "10 MiB"
}

@test "sigraise and abort end it as the signals do" {
    run "$CAIRN_IO" -c 'sigraise 15' disk.qcow2
    [ "$status" = 143 ]
    run "$CAIRN_IO" -c 'write -q 0 64k' -c abort disk.qcow2
    [ "$status" = 134 ]
    ok "$CAIRN_IMG" compare disk.qcow2 disk.qcow2
}

@test "a write that is not on the disk is told, by the exit status, too" {
    printf '[inject-error]\nevent = "flush_to_disk"\n' >rules
    fails 1 "$CAIRN_IO" -c 'write -q 0 64k' blkdebug:rules:disk.qcow2
    says "Input/output error"
}

@test "help lists every command, and explains each" {
    local command
    ok "$CAIRN_IO" -c help
    "$CAIRN_IO" -c help | sed -n 's/^\([a-z_]*\) .*-- .*/\1/p' >commands
    [ "$(wc -l <commands)" -ge 27 ]
    while read -r command; do
        ok "$CAIRN_IO" -c "help $command"
        says "$command "
        says " -- "
    done <commands
    ok "$CAIRN_IO" --help
    says "cairn-io [-c CMD]"
    fails 1 "$CAIRN_IO" --bogus
    says "Try 'cairn-io --help'"
    fails 1 "$CAIRN_IO" a b
    says "unexpected argument 'b'"
}

@test "the manual page has every option and command, and man accepts it" {
    require man
    local word
    "$CAIRN_IO" --dump-man >page.1
    man --warnings -E UTF-8 -l -Tutf8 page.1 2>warnings >/dev/null
    [ ! -s warnings ] || { cat warnings && return 1; }
    for word in $("$CAIRN_IO" -c help | sed -n 's/^\([a-z_]*\) .*-- .*/\1/p'); do
        grep -q "^\.It Cm $word" page.1
    done
    tr -d '\\&"' <page.1 >plain
    for word in $("$CAIRN_IO" --help | sed -n '/^Options:/,/^Examples:/s/^ .\{5\}--\([a-z-]*\).*/\1/p'); do
        grep -qe "Fl -$word" plain
    done
}

@test "mandoc accepts the page" {
    require mandoc
    "$CAIRN_IO" --dump-man >page.1
    mandoc -T lint -W warning page.1
}

@test "the completions know every option" {
    local shell word
    for shell in bash zsh fish; do
        "$CAIRN_IO" --completion $shell >completion.$shell
    done
    bash -n completion.bash
    for word in $("$CAIRN_IO" --help | sed -n '/^Options:/,/^Examples:/s/^ .\{5\}--\([a-z-]*\).*/\1/p'); do
        grep -qe "--$word" completion.bash
        grep -qe "--$word" completion.zsh
        [ "$word" = help ] || grep -qe "-l $word" completion.fish
    done
    fails 1 "$CAIRN_IO" --completion csh
    eval "$(<completion.bash)"
    COMP_WORDS=(cairn-io --im) COMP_CWORD=1
    _cairn_io
    [ "${COMPREPLY[*]}" = --image-opts ]
    COMP_WORDS=(cairn-io di) COMP_CWORD=1
    _cairn_io
    [ "${COMPREPLY[*]}" = disk.qcow2 ]
}

@test "every example of the manual page works" {
    local setup line count=0
    mkdir bin
    ln -s "$CAIRN_IMG" bin/cairn-img
    ln -s "$CAIRN_IO" bin/cairn-io
    while IFS=$'\t' read -r setup line; do
        rm -rf work && mkdir work
        (cd work && PATH="$BATS_TEST_TMPDIR/bin:$PATH" && eval "$setup" && eval "$line")
        count=$((count + 1))
    done < <("$CAIRN_IO" --examples)
    [ "$count" -ge 3 ]
}
