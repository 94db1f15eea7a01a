"""Which names desktop systems give to files that are theirs and no user's. Pure; the one table of them.

Used where a name is given (vfs/). With `--junk=local` what bears such a name stays on this computer. Names that people
give as well are not in it: `folder.jpg`, `AlbumArt….jpg` and `autorun.inf`, which programs look for and people make;
`.hidden`; `Icon\\r`, which somebody chose; `.Trashes` and `$RECYCLE.BIN`, whose files were a user's.
"""

from typing import Final

# On Windows names are the same whatever their case.
_FILES_WHATEVER_CASE: Final = frozenset({"desktop.ini", "thumbs.db", "ehthumbs.db"})
_FILES: Final = frozenset({".DS_Store", ".localized", ".metadata_never_index"})
# Followed by the name of the file whose attributes macOS keeps in it, where a drive has none.
_APPLE_DOUBLE: Final = "._"
# With all that is made in them.
_DIRECTORIES: Final = frozenset({".Spotlight-V100", ".fseventsd", "System Volume Information"})


def is_junk(name: str, *, is_dir: bool) -> bool:
    """Whether a file, or a directory, of this name is a desktop system's."""
    if is_dir:
        return name in _DIRECTORIES
    if name in _FILES or name.lower() in _FILES_WHATEVER_CASE:
        return True
    return name.startswith(_APPLE_DOUBLE) and len(name) > len(_APPLE_DOUBLE)
