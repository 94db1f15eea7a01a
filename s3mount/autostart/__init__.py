"""Mounts that come up when this user logs on: one entry each in the scheduler that the system has for that.

Called by cli/autostart.py. An entry holds the words of `s3mount mount` and nothing else: never a credential, and no
environment. Nothing is mounted or unmounted here.
"""
