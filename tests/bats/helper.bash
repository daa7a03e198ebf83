# For every bats file: `load ../helper`. Each test gets a folder of its own as working directory and
# these programs: $CAIRN_IMG, $CAIRN_IO, $QEMU_IMG, $QEMU_IO.
: "${abs_top_srcdir:=$(git -C "$BATS_TEST_DIRNAME" rev-parse --show-toplevel)}"
: "${abs_top_builddir:=$abs_top_srcdir/build}"
: "${CAIRN_IMG:=$abs_top_builddir/cairn-img}"
: "${CAIRN_IO:=$abs_top_builddir/cairn-io}"
: "${QEMU_IMG:=qemu-img}"
: "${QEMU_IO:=qemu-io}"
export abs_top_srcdir abs_top_builddir CAIRN_IMG CAIRN_IO QEMU_IMG QEMU_IO
export LC_ALL=C

setup() {
    cd "$BATS_TEST_TMPDIR" || return
}

# Skips the test, saying why, unless each program is there.
require() {
    local program
    for program; do
        command -v "$program" >/dev/null || skip "$program is not installed (./quickstart test installs it)"
    done
}

# Runs a command that must succeed and must say nothing on stderr; its stdout is in $output.
ok() {
    "$@" >"$BATS_TEST_TMPDIR/.out" 2>"$BATS_TEST_TMPDIR/.err" || {
        echo "exit status $? of: $*"
        cat "$BATS_TEST_TMPDIR/.out" "$BATS_TEST_TMPDIR/.err"
        return 1
    }
    output=$(<"$BATS_TEST_TMPDIR/.out")
    [ ! -s "$BATS_TEST_TMPDIR/.err" ] || {
        echo "unexpected on stderr, from: $*"
        cat "$BATS_TEST_TMPDIR/.err"
        return 1
    }
}

# Runs a command that must fail with the exit status $1; stdout and stderr are in $output.
fails() {
    local expected=$1
    shift
    run "$@"
    [ "$status" = "$expected" ] || {
        echo "exit status $status instead of $expected of: $*"
        echo "$output"
        return 1
    }
}

# $output contains the text $1.
says() {
    [[ $output == *"$1"* ]] || {
        echo "expected '$1' in:"
        echo "$output"
        return 1
    }
}

# As prlimit(1), but without --as where the program was built with sanitizers: those need terabytes of addresses.
prlimit() {
    local word words=()
    for word; do
        [[ $word == --as=* ]] && grep -qE '__(a|t)san_init' "$CAIRN_IMG" || words+=("$word")
    done
    command prlimit "${words[@]}"
}
