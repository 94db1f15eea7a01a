"""Processes of Windows under Wine, driven from Linux. scripts/test-windows runs these: they need what it installs."""

import os

collect_ignore_glob = [] if "WINFSP_LIBRARY_PATH" in os.environ else ["test_*.py"]
