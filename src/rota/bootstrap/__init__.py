"""The composition root: settings become a database, services and loops.

`background` and `mail` are imported by who needs them: they are not on a command's way.
"""

from rota.bootstrap.app import (
    LOCAL_OWNER,
    App,
    Server,
    application,
    bring_up_to_date,
    clock,
    data_dir,
    database_server,
)

__all__ = [
    "LOCAL_OWNER",
    "App",
    "Server",
    "application",
    "bring_up_to_date",
    "clock",
    "data_dir",
    "database_server",
]
