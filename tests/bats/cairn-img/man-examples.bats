# The examples of the manual pages, run as printed; and the pages themselves.
load ../helper

commands() {
    "$CAIRN_IMG" --help | sed -n '/^Commands:/,/^Usage of/s/^  \([a-z]*\) .*/\1/p'
}

# Runs the lines that `cairn-img --examples` prints for a command: setup TAB command.
run_examples() {
    local setup line count=0
    mkdir -p bin
    ln -sf "$CAIRN_IMG" bin/cairn-img
    while IFS=$'\t' read -r setup line; do
        rm -rf work && mkdir work
        (cd work && PATH="$BATS_TEST_TMPDIR/bin:$PATH" && eval "$setup" && eval "$line") || {
            echo "failed: $line"
            return 1
        }
        count=$((count + 1))
    done < <("$CAIRN_IMG" --examples "$1")
    [ "$count" -ge 2 ]
}

@test "every example of every manual page works" {
    local command
    for command in $(commands); do
        run_examples "$command"
    done
}

@test "mandoc accepts every page" {
    require mandoc
    local command page
    for command in '' $(commands); do
        "$CAIRN_IMG" --dump-man "$command" >page.1
        mandoc -T lint -W warning page.1
    done
}

@test "man formats every page without a warning" {
    require man
    local command
    for command in '' $(commands); do
        "$CAIRN_IMG" --dump-man "$command" >page.1
        MANWIDTH=80 man --warnings -l page.1 >page.txt 2>warnings
        [ ! -s warnings ]
    done
}

@test "help, manual page and completions show the same options" {
    local command shell option
    for shell in bash zsh fish; do
        "$CAIRN_IMG" --completion "$shell" >"completion.$shell"
    done
    for command in $(commands); do
        "$CAIRN_IMG" --dump-man "$command" | tr -d '\\&"' >page
        for option in $("$CAIRN_IMG" "$command" --help |
            sed -n '/^Options:/,/^Examples:/s/^ .\{5\}--\([a-z-]*\).*/\1/p'); do
            grep -qe "Fl -$option" page
            grep -qe "--$option" completion.bash
            grep -qe "--$option" completion.zsh
            [ "$option" = help ] || grep -qe "-l $option" completion.fish
        done
    done
}

@test "the bash completion offers commands, options, words and files" {
    complete_line() {
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        _cairn_img
    }
    eval "$("$CAIRN_IMG" --completion bash)"
    touch disk.raw
    complete_line cairn-img in
    [ "${COMPREPLY[*]}" = info ]
    complete_line cairn-img info --back
    [ "${COMPREPLY[*]}" = --backing-chain ]
    complete_line cairn-img info --output j
    [ "${COMPREPLY[*]}" = json ]
    complete_line cairn-img info --output = h
    [ "${COMPREPLY[*]}" = human ]
    complete_line cairn-img info di
    [ "${COMPREPLY[*]}" = disk.raw ]
}
