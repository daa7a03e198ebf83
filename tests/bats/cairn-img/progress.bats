load ../helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    head -c 4M /dev/urandom >disk.raw
}

@test "-p prints percentages with carriage returns on standard output" {
    ok "$CAIRN_IMG" convert -p disk.raw out.raw
    local line='^(    \([0-9]{1,3}\.[0-9]{2}/100%\)'$'\r'')+$'
    [[ $output =~ $line ]]
    says $'    (0.00/100%)\r'
    [[ $output == *$'    (100.00/100%)\r' ]]
}

@test "--progress alone is -p" {
    ok "$CAIRN_IMG" convert disk.raw --progress out.raw
    says $'    (100.00/100%)\r'
}

@test "-q wins over -p" {
    ok "$CAIRN_IMG" convert -q -p disk.raw out.raw
    [ -z "$output" ]
}

@test "--progress=auto is silent without a terminal, and none always" {
    ok "$CAIRN_IMG" convert --progress=auto disk.raw out.raw
    [ -z "$output" ]
    ok "$CAIRN_IMG" convert -p --progress=none disk.raw out.raw
    [ -z "$output" ]
}

@test "--progress=json prints objects of growing work" {
    ok "$CAIRN_IMG" convert --progress=json -r 8M disk.raw out.raw
    python3 - "$output" <<'PY'
import json, sys
lines = [json.loads(line) for line in sys.argv[1].splitlines()]
assert lines, "no line"
assert all(set(l) == {"phase", "done", "total", "percent", "rate", "eta"} for l in lines)
assert all(l["phase"] == "convert" for l in lines)
assert [l["done"] for l in lines] == sorted(l["done"] for l in lines)
assert lines[-1]["done"] == lines[-1]["total"] and lines[-1]["percent"] == 100
PY
}

@test "--progress=bar draws a bar with rate and time" {
    ok "$CAIRN_IMG" convert --progress=bar disk.raw out.raw
    says "convert [=============================="
    says "100.0%"
    says "iB/s"
}

@test "SIGUSR1 prints one line on standard error" {
    "$CAIRN_IMG" convert -r 2M disk.raw out.raw 2>messages &
    local pid=$!
    # it is safe to signal as soon as the program blocks the signal
    timeout 20 bash -c "until grep -q '^SigBlk:.*2[0-9a-f][0-9a-f]\$' /proc/$pid/status; do :; done"
    kill -USR1 "$pid"
    wait "$pid"
    [[ $(cat messages) =~ ^\ \ \ \ \([0-9]+\.[0-9]{2}/100%\)$ ]]
}
