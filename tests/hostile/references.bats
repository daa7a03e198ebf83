#!/usr/bin/env bats
# Names inside an image. Only plain local paths are followed, unless the caller gives leave; with
# --untrusted nothing is. strace tells which files were opened.
load ../bats/helper

# overlay NAME: a.qcow2 whose backing file has that name. It is not opened here.
overlay() {
    "$QEMU_IMG" create -q -u -f qcow2 -b "$1" -F "${2:-raw}" a.qcow2 1M
}

commands=('info' 'info --backing-chain' 'map' 'map --output=json' 'convert -O raw' 'compare' 'check' 'check -r all'
    'measure -O qcow2' 'snapshot -l' 'snapshot -c new' 'resize' 'commit' 'rebase -b ""' 'rebase -u -b ""' 'amend -o compat=0.10'
    'dd' 'bench -c 4')

# is_built COMMAND: our program has it.
is_built() {
    "$CAIRN_IMG" "${1%% *}" --help >/dev/null 2>&1
}

# each_command [OPTION...]: runs every command on a.qcow2 under strace; the opened paths are in "opened".
# A name that is only held (O_PATH) to find out what it means does not count.
each_command() {
    local command words status
    : >opened
    cp a.qcow2 .a.qcow2
    for command in "${commands[@]}"; do
        is_built "$command" || continue
        eval "words=($command)" && status=0
        cp .a.qcow2 a.qcow2
        case $command in
        dd) words+=("$@" if=a.qcow2 of=out.raw) ;;
        *) words+=("$@" a.qcow2) ;;
        esac
        case $command in convert*) words+=(out.raw) ;; compare) words+=(zero.raw) ;; resize) words+=(2M) ;; esac
        timeout 20 strace -f -y -qq -e trace=openat,open,connect,socket -o trace "$CAIRN_IMG" "${words[@]}" >out.txt 2>&1 || status=$?
        [ "$status" != 124 ] || { echo "hangs: ${words[*]}"; return 1; }
        sed "/O_PATH/d; s|^|${words[*]}: |" trace >>opened
        rm -f out.raw
    done
}

# untouched TEXT: nothing that the commands opened contains it.
untouched() {
    ! grep -F "$1" opened
}

prepare() {
    require qemu-img strace
    truncate -s 1M zero.raw secret.raw
}

@test "a plain local path is followed" {
    prepare
    overlay secret.raw
    each_command
    grep -q secret.raw opened
}

@test "json: names are not followed" {
    prepare
    overlay 'json:{"driver":"raw","file":{"driver":"file","filename":"secret.raw"}}'
    each_command
    untouched '"secret.raw'
    untouched '/secret.raw'
}

@test "protocol names are not followed" {
    prepare
    for name in nbd://127.0.0.1:1/x nbd:unix:secret.raw:exportname=x host_device:secret.raw mem:; do
        overlay "$name"
        each_command
        untouched '"secret.raw'
        ! grep -E 'AF_INET|AF_UNIX.*secret' opened || return 1
    done
}

@test "devices are not followed" {
    prepare
    for device in /dev/zero /dev/full /dev/tty; do
        overlay "$device"
        each_command
        untouched "\"$device\""
    done
}

@test "a fifo does not hang anything" {
    prepare
    mkfifo secret.fifo
    overlay secret.fifo
    each_command
}

@test "a data file is not followed" {
    prepare
    ok "$QEMU_IMG" create -q -f qcow2 -o data_file=secret.raw a.qcow2 1M
    each_command
    untouched 'secret.raw'
}

@test "a backing file that is probed is never probed as more than it says" {
    prepare
    ok "$QEMU_IMG" create -q -u -f qcow2 -b secret.raw -F raw inner.qcow2 1M
    overlay inner.qcow2 raw
    each_command
    untouched 'secret.raw'
}

@test "--untrusted follows nothing" {
    prepare
    overlay secret.raw
    each_command --untrusted
    untouched 'secret.raw'
}

@test "info still shows the names that it does not follow" {
    prepare
    overlay 'json:{"driver":"file","filename":"secret.raw"}'
    ok "$CAIRN_IMG" info a.qcow2
    says 'json:{"driver":"file","filename":"secret.raw"}'
}

@test "under the name qemu-img the names are followed as qemu-img does" {
    prepare
    overlay 'json:{"driver":"raw","file":{"driver":"file","filename":"secret.raw"}}'
    ln -s "$CAIRN_IMG" qemu-img
    CAIRN_IMG=$PWD/qemu-img each_command
    grep -q '"secret.raw"' opened
    CAIRN_UNTRUSTED=1 CAIRN_IMG=$PWD/qemu-img each_command
    untouched '"secret.raw"'
}
