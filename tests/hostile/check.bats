#!/usr/bin/env bats
# Images whose tables are made to keep a checker busy or to fill its memory: check and check -r all end within 2 s of
# processor time, 128 MiB, and 1 GiB of addresses, and say something.
load ../bats/helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    cat >image.py <<'END'
# A sparse qcow2 image, put together from tables. Functions take and return host offsets.
import struct, sys

class Image:
    def __init__(self, bits, size, order=4, l1=(0, 0), reftable=(0, 0), snapshots=(0, 0)):
        self.file = open("hostile.qcow2", "wb")
        self.cluster = 1 << bits
        self.put(0, struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, bits, size, 0, l1[1], l1[0],
                                reftable[0], reftable[1], snapshots[1], snapshots[0], 0, 0, 0, order, 104))
    def put(self, offset, data):
        self.file.seek(offset)
        self.file.write(data)
    def words(self, offset, words):
        self.put(offset, struct.pack(">%dQ" % len(words), *words))
    def end(self, size):
        self.file.truncate(size)
        self.file.close()

M = 1 << 20
COPIED = 1 << 63
END
    cat >bounded.py <<'END'
import os, resource, subprocess, sys
def limit():
    seconds = 60 if os.environ.get("SANITIZED") else 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if not os.environ.get("SANITIZED"):
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
run = subprocess.run(sys.argv[1:], preexec_fn=limit, capture_output=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
text = run.stdout + run.stderr
print(sys.argv[1:], "status", run.returncode, "peak", peak, "KiB, last line:", text[-200:].decode(errors="replace"))
assert 0 <= run.returncode <= 3, "bad exit status"
assert run.returncode == 0 or text, "silent"
assert peak <= 128 * 1024 or os.environ.get("SANITIZED"), "too much memory"
END
    grep -qE '__(a|t)san_init' "$CAIRN_IMG" && export SANITIZED=1
    return 0
}

# Reads the image's Python from stdin, and checks and repairs what it makes.
bounded() {
    require python3
    { cat image.py; cat; } | python3 -
    python3 bounded.py "$CAIRN_IMG" check -f qcow2 hostile.qcow2
    python3 bounded.py "$CAIRN_IMG" check -f qcow2 -r all hostile.qcow2
    python3 bounded.py "$CAIRN_IMG" check -f qcow2 hostile.qcow2
}

@test "every L1 entry leads to the same L2 table" {
    bounded <<'END'
i = Image(21, 1 << 60, l1=(2 * M, 4 * M), reftable=(64 * M, 1))
i.words(2 * M, [COPIED | 40 * M] * (4 * M))
i.words(40 * M, [COPIED | 42 * M] * (256 * 1024))
i.words(64 * M, [66 * M])
i.end(80 * M)
END
}

@test "snapshots share one huge L1 table, each a little longer" {
    bounded <<'END'
i = Image(16, 1 << 30, l1=(M, 2), reftable=(2 * M, 1), snapshots=(3 * M, 65536))
i.words(16 * M, [COPIED | 64 * M] * (4 * M))
i.put(3 * M, b"".join(struct.pack(">QIHHIIQIIQQ", 16 * M, 4 * M - n, 0, 0, 0, 0, 0, 0, 16, 0, 0) for n in range(65536)))
i.words(2 * M, [2 * M + 65536])
i.end(80 * M)
END
}

@test "L2 entries are scattered over a huge sparse file" {
    bounded <<'END'
i = Image(16, 1 << 42, l1=(M, 8192), reftable=(2 * M, 1))
i.words(M, [COPIED | (4 * M + n * 65536) for n in range(64)])
for n in range(64):
    i.words(4 * M + n * 65536, [COPIED | (64 * M + (n * 8192 + k) * 65536 * 3) & ~0xffff for k in range(8192)])
i.words(2 * M, [2 * M + 65536])
i.end(1 << 43)
END
}

@test "a huge sparse file has nothing in it" {
    bounded <<'END'
i = Image(9, 1 << 20, l1=(4096, 64), reftable=(8192, 1))
i.words(8192, [16384])
i.end(1 << 43)
END
}

@test "every refcount block is the same" {
    bounded <<'END'
i = Image(21, 1 << 30, l1=(2 * M, 1), reftable=(4 * M, 4))
i.words(4 * M, [16 * M] * M)
i.end(20 * M)
END
}

@test "all refcounts of a large file are too high" {
    bounded <<'END'
i = Image(9, 1 << 20, order=0, l1=(4096, 64), reftable=(8192, 128))
i.words(8192, [M + n * 512 for n in range(8192)])
i.put(M, b"\xff" * (4 * M))
i.end((M << 4) * 512)
END
}

@test "all clusters are one, and all bits of all entries are set" {
    bounded <<'END'
i = Image(16, 1 << 40, l1=(M, 2048), reftable=(2 * M, 1))
i.words(M, [COPIED | (8 * M + n * 65536) for n in range(1024)] + [(1 << 64) - 1] * 1024)
i.put(8 * M, struct.pack(">Q", 1 << 63 | 128 * M) * (4 * M))
i.put(40 * M, b"\xff" * (16 * M))
i.words(2 * M, [2 * M + 65536])
i.end(130 * M)
END
}

@test "tables lead to themselves" {
    bounded <<'END'
i = Image(16, 1 << 40, l1=(65536, 2048), reftable=(65536, 1))
i.words(65536, [COPIED | 65536] * 8192)
i.end(65536 * 3)
END
}
