"""Where log lines go: stderr for a mount in the foreground, a bounded file for one in the background.

Called once by a process, from the command line. No secret reaches a log: the AWS libraries are kept above the
level at which they show request headers.
"""

import logging
import sys
import traceback
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from s3mount.control.registry import state_root
from s3mount.errors import MountError
from s3mount.private import make_folder, open_file

LOG_NAME: Final = "s3mount.log"
LOG_BYTES_MAX: Final = 4 << 20
LOG_FILES_KEPT: Final = 3
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LEVEL_OF_LIBRARIES: Final = logging.WARNING
_LIBRARIES: Final = ("botocore", "urllib3")


def log_to(path: Path | None, level: str) -> None:
    """Send log lines to the rotating file at `path`, or to stderr. Raises OSError when the file cannot be written."""
    handler = logging.StreamHandler(sys.stderr) if path is None else _file_handler(path)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(_LEVEL_OF_LIBRARIES)


def record_unexpected(error: BaseException) -> Path:
    """Keep the traceback of what nobody foresaw; returns the file. Never raises."""
    path = state_root() / LOG_NAME
    record = logging.LogRecord(
        "s3mount", logging.ERROR, "", 0, "%s", ("".join(traceback.format_exception(error)),), None
    )
    try:
        make_folder(path.parent)
        handler = _file_handler(path)
    except (OSError, MountError):
        return path
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.emit(record)
    handler.close()
    return path


class _PrivateHandler(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_file)


def _file_handler(path: Path) -> RotatingFileHandler:
    return _PrivateHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8")
