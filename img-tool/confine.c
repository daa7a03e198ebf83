/*
 * Three fences, from the outside in: Landlock bounds which files can be opened,
 * seccomp which system calls can be made, resource limits how much memory and
 * processor time an image can cost. io_uring is closed, since its requests pass
 * seccomp by; the loop then uses its threads.
 */
#include "img-tool/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "img-tool/tool.h"

enum {
    METADATA_SECONDS = 10,
    BYTES_PER_SECOND = 1024 * 1024, /* of the slowest compression */
    ADDRESS_SPACE = 1024 * 1024 * 1024,
};

/* ---- files: Landlock ---- */

/* The kernel's interface; the header of Debian 12 ends at version 2 of it. */
enum {
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_REG = 1 << 8,
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,
    FS_VERSION_1 = (1 << 13) - 1,
    FS_TARGET = FS_WRITE_FILE | FS_READ_FILE | FS_READ_DIR | FS_REMOVE_FILE | FS_MAKE_REG |
                FS_REFER | FS_TRUNCATE,
    FS_OF_FILES = FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
    RULE_PATH_BENEATH = 1,
    CREATE_VERSION = 1,
};

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct __attribute__((packed)) path_beneath {
    uint64_t allowed;
    int32_t parent;
};

static uint64_t rights_of_version(long version)
{
    return FS_VERSION_1 | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0);
}

static bool allow_path(int ruleset, const char *path, uint64_t rights, GError **error)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return true; /* opening it will say why */
    }
    struct stat st;
    bool file = fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode);
    struct path_beneath rule = {file ? rights & FS_OF_FILES : rights, fd};
    long ret = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
    int err = errno;
    close(fd);
    return ret == 0 || error_set_errno(error, err, "could not confine the process to '%s'", path);
}

/* The file that a name of the command line means; NULL when it is not a plain path. */
static const char *plain_path(const char *name)
{
    const char *path = g_str_has_prefix(name, "file:") ? name + strlen("file:") : name;
    const char *colon = strchr(path, ':'), *slash = strchr(path, '/');
    return colon && (!slash || colon < slash) ? NULL : path;
}

static bool all_plain(const struct confinement *c)
{
    for (int i = 0; c->reads[i]; i++) {
        if (!plain_path(c->reads[i])) {
            return false;
        }
    }
    return !c->target || plain_path(c->target);
}

/* A new image is made beside its final place; a link's final place is where it points. */
static bool allow_target(int ruleset, const char *name, uint64_t rights, GError **error)
{
    char *real = realpath(plain_path(name), NULL);
    g_autofree char *folder = g_path_get_dirname(real ? real : plain_path(name));
    free(real);
    return allow_path(ruleset, folder, rights & FS_TARGET, error);
}

static bool allow_paths(int ruleset, const struct confinement *c, uint64_t rights, GError **error)
{
    for (int i = 0; c->reads[i]; i++) {
        if (!allow_path(ruleset, plain_path(c->reads[i]), rights & FS_READ_FILE, error)) {
            return false;
        }
    }
    return !c->target || allow_target(ruleset, c->target, rights, error);
}

/* Names of options and protocols open what they say; then files are not fenced. */
static bool confine_files(const struct confinement *c, GError **error)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    if (version < 1 || c->any_file || !all_plain(c)) {
        return true;
    }
    struct ruleset_attr attr = {rights_of_version(version), version >= 4 ? 3 : 0, 0};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, version >= 4 ? 16 : 8, 0);
    if (ruleset < 0) {
        return error_set_errno(error, errno, "could not confine the process to its files");
    }
    bool ok = allow_paths(ruleset, c, attr.fs, error) &&
              (syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ||
               error_set_errno(error, errno, "could not confine the process to its files"));
    close(ruleset);
    return ok;
}

/* ---- system calls: seccomp ---- */

static const char *const allowed_calls[] = {
    /* files */
    "read", "pread64", "readv", "preadv", "preadv2", "write", "pwrite64", "writev", "pwritev",
    "pwritev2", "lseek", "open", "openat", "close", "stat", "fstat", "lstat", "newfstatat", "statx",
    "statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
    "getdents64", "getcwd", "fcntl", "ioctl", "dup", "dup2", "dup3", "fsync", "fdatasync",
    "sync_file_range", "fallocate", "ftruncate", "copy_file_range", "fadvise64", "link", "linkat",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "fchmod", "fchown", "umask", "flock",
    "fgetxattr", "fsetxattr",
    /* memory */
    "mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "mincore", "membarrier",
    /* threads, waiting, signals */
    "futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "sched_getaffinity",
    "sched_setaffinity", "sched_yield", "poll", "ppoll", "select", "pselect6", "epoll_create1",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "timerfd_create", "timerfd_settime",
    "signalfd4", "pipe2", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres",
    "gettimeofday", "time", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
    "sigaltstack", "restart_syscall", "tgkill", "exit", "exit_group",
    /* about itself */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrandom", "uname",
    "sysinfo", "getrusage", "prlimit64", "getrlimit", "setrlimit", "prctl", "arch_prctl", "times",
    "getcpu", NULL};

/* Nothing here is an accident. */
static const char *const fatal_calls[] = {"execve",
                                          "execveat",
                                          "fork",
                                          "vfork",
                                          "ptrace",
                                          "process_vm_readv",
                                          "process_vm_writev",
                                          "bpf",
                                          "mount",
                                          "umount2",
                                          "unshare",
                                          "setns",
                                          "init_module",
                                          "finit_module",
                                          "kexec_load",
                                          "keyctl",
                                          "add_key",
                                          "request_key",
                                          "userfaultfd",
                                          "perf_event_open",
                                          "setuid",
                                          "setgid",
                                          "setresuid",
                                          NULL};

/* Calls that this processor or libseccomp does not know cannot be made, or get EPERM. */
static int add_rules(scmp_filter_ctx filter, uint32_t action, const char *const *names)
{
    int ret = 0;
    for (int i = 0; names[i] && !ret; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        ret = number < 0 ? 0 : seccomp_rule_add(filter, action, number, 0);
    }
    return ret;
}

/* Threads, but no processes; clone3 hides its flags, and the C library can do without. */
static int add_clone(scmp_filter_ctx filter)
{
    enum { CLONE_THREAD_FLAG = 0x10000 };
    int ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD_FLAG, CLONE_THREAD_FLAG));
    int clone3 = seccomp_syscall_resolve_name("clone3");
    return ret || clone3 < 0 ? ret : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 0);
}

static bool confine_calls(GError **error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int ret = filter ? 0 : -ENOMEM;
    ret = ret ? ret : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    ret = ret ? ret : add_rules(filter, SCMP_ACT_ALLOW, allowed_calls);
    ret = ret ? ret : add_rules(filter, SCMP_ACT_KILL_PROCESS, fatal_calls);
    ret = ret ? ret : add_clone(filter);
    ret = ret ? ret : seccomp_load(filter);
    seccomp_release(filter);
    return !ret || error_set_errno(error, -ret,
                                   "could not filter the system calls of this process, as "
                                   "--untrusted asks");
}

/* ---- memory and time ---- */

static void on_time_over(int number)
{
    tool_die("the image took more processor time than an honest one would (--untrusted)\n");
}

static void set_limit(int resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0) {
        limit.rlim_cur = MIN(value, limit.rlim_max);
        setrlimit(resource, &limit);
    }
}

static void confine_resources(void)
{
    struct sigaction action = {.sa_handler = on_time_over};
    sigaction(SIGXCPU, &action, NULL);
    set_limit(RLIMIT_CPU, METADATA_SECONDS);
    set_limit(RLIMIT_CORE, 0);
    if (!SANITIZED) {
        set_limit(RLIMIT_AS, ADDRESS_SPACE);
    }
}

void confine_allow_work(int64_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        set_limit(RLIMIT_CPU, limit.rlim_cur + (rlim_t)(bytes / BYTES_PER_SECOND));
    }
}

/* The sanitizers' own work at the end of a process does not fit through the fences. */
bool confine_start(const struct confinement *confinement, GError **error)
{
    tzset();
    confine_resources();
    if (SANITIZED) {
        return true;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        return error_set_errno(error, errno, "could not give up new privileges");
    }
    return confine_files(confinement, error) && confine_calls(error);
}
