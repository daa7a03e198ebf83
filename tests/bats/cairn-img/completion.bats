#!/usr/bin/env bats
# The completion scripts, in the shells they are for.
load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR"
}

# bash_completes WORD...: what bash offers for the last word.
bash_completes() {
    "$CAIRN_IMG" --completion bash >bash.completion
    bash -c 'source bash.completion
        function=$(complete -p cairn-img | sed "s/.*-F \([^ ]*\).*/\1/")
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        $function cairn-img "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

fish_completes() {
    "$CAIRN_IMG" --completion fish >fish.completion
    HOME=$PWD fish --no-config -c "source fish.completion; complete -C '$1'"
}

# zsh_completes TEXT WANTED: types TEXT and Tab into zsh, and waits until WANTED shows up.
zsh_completes() {
    "$CAIRN_IMG" --completion zsh >_cairn-img
    cat >type.zsh <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -D; echo rea\dy"
zpty -r shell seen "*ready*"
zpty -w -n shell "$1"$'\t'
zpty -r shell seen "*$2*"
END
    timeout 20 zsh -f type.zsh "$1" "$2"
}

@test "bash offers the subcommands and their options" {
    run bash_completes cairn-img conv
    [ "$output" = convert ]
    run bash_completes cairn-img info --out
    [[ "$output" = --output* ]]
}

@test "fish offers the subcommands and their options" {
    run fish_completes "cairn-img conv"
    [[ "$output" = convert* ]]
    run fish_completes "cairn-img map --max"
    [[ "$output" = --max-length* ]]
}

@test "zsh offers the subcommands and their options" {
    ok zsh_completes "cairn-img conv" convert
    ok zsh_completes "cairn-img map --max" max-length
}
