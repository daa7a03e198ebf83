# hold_image FILE [ro]: another process uses the image as a writer (or reader) would, with the byte locks
# that QEMU uses; it ends with the test.
hold_image() {
    coproc HOLDER {
        exec python3 - "$@" 3>&- <<'PY'
import fcntl, os, struct, sys
F_OFD_SETLK = 37
writes = len(sys.argv) < 3
fd = os.open(sys.argv[1], os.O_RDWR)
for byte in (101, 201, 203) if writes else (100, 201, 203):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqixxxx", fcntl.F_RDLCK, 0, byte, 1, 0))
print("ready", flush=True)
import signal
signal.pause()
PY
    }
    holder=$HOLDER_PID
    local ready
    read -r ready <&"${HOLDER[0]}"
}

teardown() {
    [ -z "${holder:-}" ] || kill "$holder" 2>/dev/null || true
}
