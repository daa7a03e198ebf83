#!/usr/bin/env bats
# What is installed carries the hardening flags; read from the files themselves.
load ../helper

binaries() {
    printf '%s\n' "$CAIRN_IMG" "$abs_top_builddir/.libs/libblock.so"
}

# Skips in builds that leave the flags out on purpose.
hardened_build() {
    local flags
    flags=$(sed -n 's/^HARDEN_CFLAGS = //p' "$abs_top_builddir/Makefile")
    [ -n "$flags" ] || skip "configured with --disable-hardening"
    [[ -z ${1-} || $flags == *"$1"* ]] || skip "this build leaves $1 out"
}

each_binary() {
    local binary
    while read -r binary; do
        "$@" "$binary" || {
            echo "not so: $* $binary"
            return 1
        }
    done < <(binaries)
}

position_independent() { readelf -hW "$1" | grep -q 'Type: *DYN'; }
relocations_read_only() { readelf -lW "$1" | grep -q GNU_RELRO; }
bound_at_start() { readelf -dW "$1" | grep -qE 'BIND_NOW|FLAGS_1.*NOW'; }
stack_not_executable() { readelf -lW "$1" | grep 'GNU_STACK' | grep -qv 'RWE'; }
no_writable_code() { ! readelf -lW "$1" | grep -E '^ *LOAD' | grep -q 'RWE'; }
no_text_relocations() { ! readelf -dW "$1" | grep -q TEXTREL; }
no_search_path() { ! readelf -dW "$1" | grep -qE 'R(UN)?PATH'; }
stack_protected() { readelf -sW --dyn-syms "$1" | grep -q '__stack_chk_fail'; }
fortified() { readelf -sW --dyn-syms "$1" | grep -qE '__[a-z]+_chk'; }
no_shadow_stack() { ! readelf -nW "$1" | grep -q 'SHSTK'; }

@test "code is position independent" {
    hardened_build
    each_binary position_independent
    each_binary no_text_relocations
}

@test "relocations are read-only and bound at the start" {
    hardened_build
    each_binary relocations_read_only
    each_binary bound_at_start
}

@test "neither stack nor data is executable" {
    each_binary stack_not_executable
    each_binary no_writable_code
}

@test "no library is looked for in a build folder" {
    each_binary no_search_path
}

@test "stacks are protected" {
    hardened_build -fstack-protector-strong
    each_binary stack_protected
}

@test "library calls check their buffers" {
    hardened_build _FORTIFY_SOURCE
    each_binary fortified
}

# A linked file carries the mark only where the C library's start files do, which is not everywhere.
@test "indirect branches are tracked, and no shadow stack is claimed" {
    hardened_build -fcf-protection
    [ "$(uname -m)" = x86_64 ] || skip "only x86-64 has these marks"
    each_binary no_shadow_stack
    local object count=0
    for object in "$abs_top_builddir"/{base,libblock}/.libs/*.o; do
        readelf -nW "$object" | grep -q IBT || { echo "$object" && return 1; }
        count=$((count + 1))
    done
    [ $count -ge 10 ]
}
