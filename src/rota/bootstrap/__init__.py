"""The composition root: settings become a database, services and loops.

`app` is on every command's way; `background` and `mail` are imported by who needs them.
"""
