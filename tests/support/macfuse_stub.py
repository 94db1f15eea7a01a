"""macFUSE's libfuse 3 on Linux: its form of the low-level interface, compiled over the libfuse 3 that is here.

`build` makes a library whose functions and structures are those of macFUSE's headers, each in C's own types, so that it
is the C compiler that lays them out; it hands on to libfuse what it is given, turned into Linux's. So a mount by the
binding for macOS (bindings/darwin_abi.py, darwin_view.py) can be tried against a real kernel: Linux's, for which the
stub gives `user.NAME` the name NAME, and Linux's flags the values of macOS. It refuses what macFUSE's library refuses:
another form of the callbacks, and capabilities that are not there. Nothing here tells what the kernel of macOS does.

As `python -m tests.support.macfuse_stub LIBRARY KIND FOLDER MOUNTPOINT` it serves a drive of fs_factory as on macOS.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

typedef struct fuse_req *req_t;
struct darwin_attr {
    uint64_t ino; uint16_t mode; uint16_t nlink; uint32_t uid; uint32_t gid; int32_t rdev;
    struct timespec atimespec, mtimespec, ctimespec, btimespec, bkuptimespec;
    int64_t size; int64_t blocks; int32_t blksize; unsigned int flags; uint64_t reserved[8];
};
struct darwin_entry { uint64_t ino, generation; struct darwin_attr attr; double attr_timeout, entry_timeout; };
struct darwin_statfs {
    uint32_t f_bsize; int32_t f_iosize; uint64_t f_blocks, f_bfree, f_bavail, f_files, f_ffree; int32_t f_fsid[2];
    uint32_t f_owner, f_type, f_flags, f_fssubtype; char f_fstypename[16], f_mntonname[1024], f_mntfromname[1024];
    uint32_t f_flags_ext, f_reserved[7];
};
struct darwin_conn {
    uint32_t proto_major, proto_minor, max_write, max_read, max_readahead, capable, want, max_background;
    uint32_t congestion_threshold, time_gran, max_backing_stack_depth, no_interrupt : 1, padding : 31;
    uint64_t capable_ext, want_ext, capable_darwin, want_darwin; uint32_t reserved[16];
};
struct darwin_version { uint32_t major, minor, hotfix, darwin_extensions_enabled : 1, padding : 31; };
struct linux_entry { uint64_t ino, generation; struct stat attr; double attr_timeout, entry_timeout; };
struct linux_conn {
    uint32_t proto_major, proto_minor, max_write, max_read, max_readahead, capable, want, max_background;
    uint32_t congestion_threshold, time_gran, reserved[22];
};
struct args { int argc; char **argv; int allocated; };

extern int fuse_reply_entry(req_t, const struct linux_entry *);
extern int fuse_reply_create(req_t, const struct linux_entry *, const void *);
extern int fuse_reply_attr(req_t, const struct stat *, double);
extern int fuse_reply_statfs(req_t, const struct statvfs *);
extern int fuse_reply_err(req_t, int);
extern size_t fuse_add_direntry(req_t, char *, size_t, const char *, const struct stat *, off_t);
extern size_t fuse_add_direntry_plus(req_t, char *, size_t, const char *, const struct linux_entry *, off_t);
extern void *fuse_session_new(struct args *, const void *, size_t, void *);

/* Places in struct fuse_lowlevel_ops, which macFUSE has in common with Linux. */
enum { INIT = 0, SETATTR = 5, RENAME = 12, SETXATTR = 25, GETXATTR = 26, REMOVEXATTR = 28, OPERATIONS = 44 };
static void *given[OPERATIONS];

long macfuse_version(void) { return 50103; }
int fuse_version(void) { return 318; }

static struct stat to_linux(const struct darwin_attr *a)
{
    struct stat s;
    memset(&s, 0, sizeof s);
    s.st_ino = a->ino; s.st_mode = a->mode; s.st_nlink = a->nlink; s.st_uid = a->uid; s.st_gid = a->gid;
    s.st_rdev = a->rdev; s.st_atim = a->atimespec; s.st_mtim = a->mtimespec; s.st_ctim = a->ctimespec;
    s.st_size = a->size; s.st_blocks = a->blocks; s.st_blksize = a->blksize;
    if (memcmp(&a->btimespec, &a->mtimespec, sizeof a->btimespec) || a->flags)
        abort();
    return s;
}
static struct linux_entry entry_to_linux(const struct darwin_entry *e)
{
    struct linux_entry l = {e->ino, e->generation, to_linux(&e->attr), e->attr_timeout, e->entry_timeout};
    return l;
}
int reply_entry(req_t r, const struct darwin_entry *e) __asm("fuse_reply_entry$DARWIN");
int reply_entry(req_t r, const struct darwin_entry *e)
{
    struct linux_entry l = entry_to_linux(e);
    return fuse_reply_entry(r, &l);
}
int reply_create(req_t r, const struct darwin_entry *e, const void *info) __asm("fuse_reply_create$DARWIN");
int reply_create(req_t r, const struct darwin_entry *e, const void *info)
{
    struct linux_entry l = entry_to_linux(e);
    return fuse_reply_create(r, &l, info);
}
int reply_attr(req_t r, const struct darwin_attr *a, double timeout) __asm("fuse_reply_attr$DARWIN");
int reply_attr(req_t r, const struct darwin_attr *a, double timeout)
{
    struct stat s = to_linux(a);
    return fuse_reply_attr(r, &s, timeout);
}
int reply_statfs(req_t r, const struct darwin_statfs *v) __asm("fuse_reply_statfs$DARWIN");
int reply_statfs(req_t r, const struct darwin_statfs *v)
{
    struct statvfs s;
    memset(&s, 0, sizeof s);
    s.f_bsize = v->f_iosize; s.f_frsize = v->f_bsize; s.f_blocks = v->f_blocks; s.f_bfree = v->f_bfree;
    s.f_bavail = v->f_bavail; s.f_files = v->f_files; s.f_ffree = v->f_ffree;
    return fuse_reply_statfs(r, &s);
}
size_t direntry(req_t r, char *b, size_t n, const char *name, const struct darwin_attr *a, off_t o)
    __asm("fuse_add_direntry$DARWIN");
size_t direntry(req_t r, char *b, size_t n, const char *name, const struct darwin_attr *a, off_t o)
{
    struct stat s;
    memset(&s, 0, sizeof s);
    s.st_ino = a->ino; s.st_mode = a->mode;
    return fuse_add_direntry(r, b, n, name, &s, o);
}
size_t direntry_plus(req_t r, char *b, size_t n, const char *name, const struct darwin_entry *e, off_t o)
    __asm("fuse_add_direntry_plus$DARWIN");
size_t direntry_plus(req_t r, char *b, size_t n, const char *name, const struct darwin_entry *e, off_t o)
{
    struct linux_entry l = entry_to_linux(e);
    return fuse_add_direntry_plus(r, b, n, name, &l, o);
}

static void on_init(void *userdata, struct linux_conn *c)
{
    struct darwin_conn d;
    memset(&d, 0, sizeof d);
    memcpy(&d, c, offsetof(struct linux_conn, reserved));
    d.capable_ext = d.capable; d.want_ext = d.want;
    ((void (*)(void *, struct darwin_conn *))given[INIT])(userdata, &d);
    if (d.want & ~d.capable || d.want_darwin) {
        fprintf(stderr, "ERROR unknown connection 'want' flags\n");
        abort();
    }
    memcpy(c, &d, offsetof(struct linux_conn, reserved));
}
static void on_setattr(req_t r, uint64_t ino, struct stat *s, int to_set, void *info)
{
    struct darwin_attr a;
    memset(&a, 0xff, sizeof a);
    a.mode = s->st_mode; a.uid = s->st_uid; a.gid = s->st_gid; a.size = s->st_size;
    a.atimespec = s->st_atim; a.mtimespec = s->st_mtim; a.ctimespec = s->st_ctim;
    ((void (*)(req_t, uint64_t, struct darwin_attr *, int, void *))given[SETATTR])(r, ino, &a, to_set, info);
}
static void on_rename(req_t r, uint64_t p, const char *n, uint64_t q, const char *m, unsigned flags)
{
    ((void (*)(req_t, uint64_t, const char *, uint64_t, const char *, unsigned))given[RENAME])
        (r, p, n, q, m, (flags & 2) | (flags & 1 ? 4 : 0));
}
static const char *mac_name(const char *name)
{
    return strncmp(name, "user.", 5) ? NULL : name + 5;
}
static void on_setxattr(req_t r, uint64_t ino, const char *name, const char *value, size_t size, int flags)
{
    if (!mac_name(name))
        fuse_reply_err(r, ENOTSUP);
    else
        ((void (*)(req_t, uint64_t, const char *, const char *, size_t, int, uint32_t))given[SETXATTR])
            (r, ino, mac_name(name), value, size, flags << 1, 0);
}
static void on_getxattr(req_t r, uint64_t ino, const char *name, size_t size)
{
    if (!mac_name(name))
        fuse_reply_err(r, ENOTSUP);
    else
        ((void (*)(req_t, uint64_t, const char *, size_t, uint32_t))given[GETXATTR])(r, ino, mac_name(name), size, 0);
}
static void on_removexattr(req_t r, uint64_t ino, const char *name)
{
    if (!mac_name(name))
        fuse_reply_err(r, ENOTSUP);
    else
        ((void (*)(req_t, uint64_t, const char *))given[REMOVEXATTR])(r, ino, mac_name(name));
}

void *fuse_session_new_versioned(struct args *a, const void *operations, size_t size, struct darwin_version *v, void *u)
{
    void *linux_operations[OPERATIONS];
    char kept[4096] = "", *words = strdup(a->argv[2]), *at = words, *word;
    char *argv[] = {a->argv[0], "-o", kept, NULL};
    struct args linux_args = {3, argv, 0};

    if (v->major != 3 || v->minor != 18 || !v->darwin_extensions_enabled || v->padding || size != sizeof given) {
        fprintf(stderr, "another form of the callbacks\n");
        return NULL;
    }
    memcpy(given, operations, size);
    memcpy(linux_operations, given, size);
    linux_operations[INIT] = on_init;
    linux_operations[SETATTR] = on_setattr;
    linux_operations[RENAME] = on_rename;
    linux_operations[SETXATTR] = on_setxattr;
    linux_operations[GETXATTR] = on_getxattr;
    linux_operations[REMOVEXATTR] = on_removexattr;
    while ((word = strsep(&at, ","))) {
        if (!strncmp(word, "volname=", 8) || !strcmp(word, "auto_cache") || !strncmp(word, "daemon_timeout=", 15) ||
            !strncmp(word, "iosize=", 7))
            continue;
        if (*kept)
            strcat(kept, ",");
        strcat(kept, word);
    }
    free(words);
    return fuse_session_new(&linux_args, linux_operations, sizeof linux_operations, u);
}
"""


def build(folder: Path) -> Path:
    """The library; raises CalledProcessError, with what the compiler says, when it does not compile."""
    source, library = folder / "macfuse.c", folder / "libfuse3.dylib"
    source.write_text(SOURCE)
    subprocess.run(
        ["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source), "-l:libfuse3.so.3"], check=True
    )
    return library


def command(library: Path, kind: str, folder: Path, mountpoint: Path) -> list[str]:
    words = [library, kind, folder, mountpoint]
    return [sys.executable, "-m", "tests.support.macfuse_stub", *map(str, words)]


def _serve(library: str, kind: str, folder: str, mountpoint: str) -> None:
    # Everything that looks at the system while it is imported does so before it is another one.
    from tests.support.fs_factory import open_drive

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    drive = open_drive(kind, Path(folder))
    os.environ["FUSE_LIBRARY_PATH"] = library
    sys.platform = "darwin"
    from s3mount.bindings import as_seen, load_binding

    load_binding()(
        as_seen(drive.filesystem, keeps_junk_here=True),
        mountpoint,
        source_name="s3mount#b/p q",
        read_only=False,
        allow_other=False,
        extra_options=(),
        on_ready=lambda: None,
        detaching=None,  # type: ignore[arg-type]  # not looked at
    )
    drive.close()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
