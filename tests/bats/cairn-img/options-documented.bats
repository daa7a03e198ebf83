#!/usr/bin/env bats
# Help, manual pages and completions know the same options, for every subcommand.
load ../helper

commands() {
    "$CAIRN_IMG" --help | sed -n '/^Commands:/,/^Usage/s/^  \([a-z]\{1,\}\) .*/\1/p'
}

long_options() {
    grep -oE -- '(^|[^-a-z])--[a-z][a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u
}

@test "the help of each subcommand and its manual page list the same options" {
    local command
    [ "$(commands | wc -l)" -ge 3 ]
    for command in $(commands); do
        "$CAIRN_IMG" "$command" --help | long_options >help
        "$CAIRN_IMG" --dump-man "$command" | sed -n '/^\.Sh OPTIONS/,/^\.Sh [^O]/s/^\.It//p' |
            sed 's/Fl "\\&\\-/--/g; s/\\-/-/g' | long_options >man
        [ -s help ]
        diff help man || { echo "help (<) and manual (>) of '$command' differ" && return 1; }
    done
}

@test "the bash completion offers every option of each subcommand" {
    local command option
    "$CAIRN_IMG" --completion bash >completion
    bash -n completion
    for command in $(commands); do
        grep -qw "$command" completion
        for option in $("$CAIRN_IMG" "$command" --help | long_options); do
            grep -q -e "${option#--}" completion || { echo "$command $option" && return 1; }
        done
    done
}

@test "manual pages are clean for man" {
    require man
    local command
    for command in "" $(commands); do
        "$CAIRN_IMG" --dump-man "$command" >page.1
        man --warnings -E UTF-8 -l -Tutf8 page.1 2>warnings >/dev/null
        [ ! -s warnings ] || { cat warnings && return 1; }
    done
}
