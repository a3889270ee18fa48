"""What a connection allows rota, in words."""

from __future__ import annotations

from rota.domain.agents.connections import KINDS, ConnectedBy, ConnectionInfo
from rota.domain.agents.mail_accounts import READING


def allowed_in_words(connection: ConnectionInfo) -> str:
    """Say what a connection allows rota; nothing where that is not known."""
    kind = KINDS.get(connection.kind)
    if kind is None or not (connection.scopes or kind.by is not ConnectedBy.GRANT):
        return ""
    if kind.by is ConnectedBy.PASSWORD and connection.scopes == (READING,):
        return "reading only"
    if kind.by is ConnectedBy.PASSWORD:
        return "all that its password allows"
    if kind.by is ConnectedBy.ADDRESS:
        return "reading"
    # Only here, as in most lists there is no grant.
    from rota.agents.tools.oauth.providers import SCOPES  # noqa: PLC0415

    return SCOPES[connection.kind].allowed(connection.scopes)
