#!/usr/bin/env bats
# make install puts everything where people look for it, under DESTDIR and the prefix.
load ../helper

install_here() {
    make -s -C "$abs_top_builddir" install DESTDIR="$PWD/dest" prefix=/opt/cairn >log 2>&1 || {
        cat log
        return 1
    }
}

@test "programs, library, manuals and completions are installed" {
    install_here
    local root=dest/opt/cairn page
    [ -x $root/bin/cairn-img ]
    [ -x $root/bin/cairn-io ]
    [ -s $root/share/bash-completion/completions/cairn-io ]
    [ -s $root/share/man/man1/cairn-io.1 ]
    [ -e $root/lib/libblock.so ]
    [ -e $root/include/blk.h ]
    [ -e $root/lib/pkgconfig/libblock.pc ]
    [ -s $root/share/bash-completion/completions/cairn-img ]
    [ -s $root/share/zsh/site-functions/_cairn-img ]
    [ -s $root/share/fish/vendor_completions.d/cairn-img.fish ]
    for page in cairn-img cairn-img-create cairn-img-info cairn-img-map; do
        [ -s $root/share/man/man1/$page.1 ]
    done
    [ "$(find dest -mindepth 1 -maxdepth 1)" = dest/opt ]
}

@test "qemu-img is there under its own name, apart from PATH" {
    install_here
    [ -L dest/opt/cairn/libexec/cairn/compat/qemu-img ]
    [ "$(readlink dest/opt/cairn/libexec/cairn/compat/qemu-img)" = /opt/cairn/bin/cairn-img ]
    [ "$(readlink dest/opt/cairn/libexec/cairn/compat/qemu-io)" = /opt/cairn/bin/cairn-io ]
    [ ! -e dest/opt/cairn/bin/qemu-img ]
}

@test "every subcommand has a manual page, and no other page is installed" {
    install_here
    "$CAIRN_IMG" --help | sed -n '/^Commands:/,/^Usage/s/^  \([a-z]\{1,\}\) .*/cairn-img-\1.1/p' | sort >expected
    [ -s expected ]
    find dest/opt/cairn/share/man/man1 -name 'cairn-img-*' -printf '%f\n' | sort >installed
    diff expected installed
}

@test "uninstall leaves no file" {
    install_here
    make -s -C "$abs_top_builddir" uninstall DESTDIR="$PWD/dest" prefix=/opt/cairn >log 2>&1
    [ -z "$(find dest ! -type d)" ]
}
