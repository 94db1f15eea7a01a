"""A few files to show in the demo drive: text, a picture, a folder in a folder. Called by demo/command.py."""

from pathlib import Path
from typing import Final

_PICTURE: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 100">
  <rect width="160" height="100" fill="#eef4fb"/>
  <ellipse cx="80" cy="30" rx="45" ry="12" fill="#7aa7d9"/>
  <path d="M35 30 L47 84 A33 9 0 0 0 113 84 L125 30 Z" fill="#a9c8ea"/>
  <text x="80" y="66" font-family="sans-serif" font-size="16" text-anchor="middle" fill="#23415f">bucket</text>
</svg>
"""

_SAMPLES: Final = {
    "welcome.txt": "This file is one object in the bucket: its key is its path, its body is these bytes.\n"
    "Change it, copy folders beside it, and look at the bucket with any S3 tool.\n",
    "pictures/bucket.svg": _PICTURE,
    "notes/2026/naïve résumé – 日本語.txt": "Names are kept as they are.\n",
    "notes/todo.md": "# To do\n\n- [x] mount a bucket\n- [ ] run rsync, restic or borg onto it\n",
}


def write_samples(folder: Path) -> list[str]:
    """Write the sample files that are not there yet under `folder`; returns the paths of all of them."""
    for name, text in _SAMPLES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(text, encoding="utf-8")
    return list(_SAMPLES)
