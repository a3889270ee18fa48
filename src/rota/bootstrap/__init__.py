"""The composition root: settings become a database, services and loops.

Every command imports `app`. `background` and `mail` are imported only where they are needed.
"""
