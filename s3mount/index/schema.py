"""The tables of the index: what each column means, what always holds, what the sentinels are.

This page is the reference for the index format. A change of it is a new SCHEMA_VERSION and a step in migrations.py.

Times are nanoseconds since the epoch; one that 64 bits do not hold (before 1677, after 2262) is a BLOB of its decimal
digits, because an INTEGER column makes a REAL of a number or a text that large. Keys are relative to the mounted
prefix. NULL always means "none", never zero.
"""

SCHEMA_VERSION = 4

DDL = """
-- Facts about the index itself:
--   uuid                marks this index's own writes in the bucket; never changes
--   source              the endpoint, bucket and prefix it belongs to for good
--   conditional_writes  what the store makes of them, see writeback/conditions.py; no row: not tried yet
--   sync                a counter that gives a durable commit something to write
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row per file, directory, symlink or special file; and one per further name of such a file, its shadow. Row 1 is
-- the root.
-- What the user sees:
--   mode                whole st_mode: type and permissions
--   size                bytes; of a symlink, the length of its target
--   atime_ns            NULL: never set by anyone, shown as mtime
--   nlink               files, symlinks: how many dentries name it; directories: 2 + the number of subdirectories.
--                       0: unlinked but open; such rows are removed at the last release, or at the next mount
--   target              symlinks: where it points, a blob when it is not UTF-8; NULL: the object's body is not
--                       fetched yet
--   rdev                block and character devices: st_rdev
--   xattrs              JSON, name -> base64 of the value, of all extended attributes and ACLs; NULL: none
-- What has changed here, and how much of it the bucket has; owed exactly when ahead (and nlink > 0, and not kept here,
-- see is_local):
--   content_generation  bumped by every change of the bytes; may be ahead of this row in memory while a file is open
--   content_uploaded    the content_generation whose bytes are the object's
--   meta_generation     bumped by every change of mode, owner, times, name
--   meta_uploaded       the meta_generation whose values are the object's metadata and key
-- What the bucket has:
--   remote_key          the key of the object with our bytes, or of a directory's children; differs from the path's
--                       key while a rename is owed. At most one live directory, and one other live inode, has a
--                       given remote_key: both when the object has content, and then it is the latter's (keys.py)
--                       What lies below a directory was written below this key, or below its path while NULL
--                       NULL: the bucket has nothing of it
--   remote_etag         the base ETag; NULL for a directory without a marker object
--   remote_size         size of that object: bytes not present in the cache are read from it, below this offset
--   remote_modified_ns  when that object was made, as listings say; NULL: none has shown it yet. A change of metadata
--                       alone moves this, and not the ETag
--   metadata_known      0: the object was only listed; mode, owner and times are the mount's defaults
--   foreign_metadata    JSON of the object's user metadata that is not ours, carried along when we rewrite it
--   attempt_key         a write to this key began and its outcome is not recorded: an object of ours may be there
--   is_listed           directories: 1 when every child that the bucket had at some time is in dentry
--   due_ns              owed work starts no earlier; MAX for parked work
--   is_local            1: junk of a desktop system, kept here and never owed, for as long as remote_key and
--                       attempt_key are NULL. Its content_generation stays ahead: its bytes are never evicted
-- Hard links (index/links.py):
--   link_of             the inode that this row's name stands for; this row is a shadow, and only write-back, listings
--                       and checks look at it: it has a name and an object of its own, its attributes are what that
--                       object is to carry, its content_uploaded is the primary's that was copied. Its bytes are never
--                       cached. A primary's nlink counts its shadows
--   link_group          what all objects of one group carry that have the same content; NULL: not linked
--   owed_since_ns       when the first of the changes that are owed was made; 0 when nothing is
CREATE TABLE inode (
    ino                INTEGER PRIMARY KEY AUTOINCREMENT,
    mode               INTEGER NOT NULL,
    uid                INTEGER NOT NULL,
    gid                INTEGER NOT NULL,
    size               INTEGER NOT NULL,
    mtime_ns           INTEGER NOT NULL,
    ctime_ns           INTEGER NOT NULL,
    atime_ns           INTEGER,
    nlink              INTEGER NOT NULL,
    target             TEXT,
    content_generation INTEGER NOT NULL,
    content_uploaded   INTEGER NOT NULL,
    meta_generation    INTEGER NOT NULL,
    meta_uploaded      INTEGER NOT NULL,
    remote_key         TEXT,
    remote_etag        TEXT,
    remote_size        INTEGER NOT NULL,
    metadata_known     INTEGER NOT NULL,
    foreign_metadata   TEXT,
    attempt_key        TEXT,
    is_listed          INTEGER NOT NULL,
    due_ns             INTEGER NOT NULL,
    owed_since_ns      INTEGER NOT NULL,
    rdev               INTEGER NOT NULL DEFAULT 0,
    xattrs             TEXT,
    link_of            INTEGER,
    link_group         TEXT,
    remote_modified_ns INTEGER,
    is_local           INTEGER NOT NULL DEFAULT 0
);
-- The write-back queue is this index: derived from the generations, so it cannot disagree with them.
CREATE INDEX inode_owed ON inode (due_ns)
    WHERE nlink > 0 AND (content_generation > content_uploaded OR meta_generation > meta_uploaded)
    AND NOT (is_local AND remote_key IS NULL AND attempt_key IS NULL);
CREATE INDEX inode_local ON inode (ino) WHERE is_local;
CREATE INDEX inode_remote ON inode (remote_key) WHERE remote_key IS NOT NULL;
CREATE INDEX inode_orphan ON inode (ino) WHERE nlink = 0;
CREATE INDEX inode_attempt ON inode (attempt_key) WHERE attempt_key IS NOT NULL;
CREATE INDEX inode_link ON inode (link_of) WHERE link_of IS NOT NULL;
CREATE INDEX inode_group ON inode (link_group) WHERE link_group IS NOT NULL;
-- What may have more below it, or in its metadata, than is known here.
CREATE INDEX inode_unmet ON inode (ino) WHERE metadata_known = 0 OR (is_listed = 0 AND (mode & 61440) = 16384);

-- (parent, name) -> ino. Every inode but the root and orphans has at least one.
--   name       as it is shown; a blob when it is not UTF-8
--   component  of the key that the name stands for; NULL: the one that the name tells, see names.py. In a directory no
--              two files, and no two directories, stand for the same
CREATE TABLE dentry (
    parent    INTEGER NOT NULL,
    name      TEXT NOT NULL,
    ino       INTEGER NOT NULL,
    component TEXT,
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE INDEX dentry_ino ON dentry (ino);
CREATE INDEX dentry_component ON dentry (parent, component) WHERE component IS NOT NULL;

-- Keys that nobody wants any more, DELETE not yet confirmed. A key ending in "/" stands for a directory: its marker,
-- and the fact that its prefix, still listed while objects leave it, is no directory here.
--   etag    the version we know to be there; NULL: perhaps there is one, of ours
--   due_ns  the DELETE starts no earlier
CREATE TABLE tombstone (
    key    TEXT PRIMARY KEY,
    etag   TEXT,
    due_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tombstone_due ON tombstone (due_ns);

-- Multipart uploads begun and not known to be completed or aborted.
--   ino         whose content it is to hold, one upload an inode; 0: nobody's, to be aborted
--   part_bytes  part n is the bytes from (n - 1) * part_bytes
--   base_key, base_etag  the inode's object when it was begun: what parts may be copied from
--   metadata    JSON of the metadata it was begun with, without the write id: the object will have these
--   write_id    the write id it was begun with, no other upload's: how its object is recognised
--   cache_tag   cache/trust.py: under another tag power may have been lost, and the parts prove nothing
CREATE TABLE multipart (
    upload_id  TEXT PRIMARY KEY,
    key        TEXT NOT NULL,
    ino        INTEGER NOT NULL,
    part_bytes INTEGER NOT NULL,
    base_key   TEXT,
    base_etag  TEXT,
    metadata   TEXT NOT NULL,
    write_id   TEXT NOT NULL,
    cache_tag  TEXT NOT NULL
) WITHOUT ROWID;

-- Parts that S3 has taken, and whose bytes [start_at, end_at) are still the file's: removed before these change.
CREATE TABLE part (
    upload_id TEXT NOT NULL,
    number    INTEGER NOT NULL,
    start_at  INTEGER NOT NULL,
    end_at    INTEGER NOT NULL,
    etag      TEXT NOT NULL,
    PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;

-- Multipart uploads about to be begun, whose id is not on record: one at that key from between these times is ours.
CREATE TABLE multipart_intent (
    key      TEXT PRIMARY KEY,
    first_ns INTEGER NOT NULL,
    last_ns  INTEGER NOT NULL
) WITHOUT ROWID;

-- Owed work that S3 refuses for good: kept, shown in status, tried again at `s3mount drain` and at the next mount.
CREATE TABLE parked (
    ino      INTEGER PRIMARY KEY,
    cause    TEXT NOT NULL,
    since_ns INTEGER NOT NULL
);

-- Which bytes of a file are in the cache directory. Packed extents, see cache/extents.py.
--   present       bytes held; `dirty`, a part of them, differs from the object remote_key/remote_etag
--   present_size  how many of them take room: all but the holes
--   used_ns       last use: what eviction goes by
--   holes         the part of `present` that was never written and takes no room, see cache/holes.py
CREATE TABLE cache_entry (
    ino          INTEGER PRIMARY KEY,
    present      BLOB NOT NULL,
    dirty        BLOB NOT NULL,
    present_size INTEGER NOT NULL,
    used_ns      INTEGER NOT NULL,
    holes        BLOB NOT NULL DEFAULT x''
);
CREATE INDEX cache_entry_used ON cache_entry (used_ns) WHERE present_size > 0;
CREATE INDEX cache_entry_holes ON cache_entry (ino) WHERE length(holes) > 0;

-- Checksums of present bytes, for 8 MiB of a file a row; see cache/seals.py.
CREATE TABLE cache_seal (
    ino     INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    seals   BLOB NOT NULL,
    PRIMARY KEY (ino, segment)
) WITHOUT ROWID;
"""

DUE_NEVER = (1 << 63) - 1
