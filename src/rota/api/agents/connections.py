"""Connections over HTTP: accounts elsewhere. Secrets go in, and none comes out."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Caller, Manager, Reader, Services
from rota.api.pages import Page, page_of
from rota.bootstrap.app import App
from rota.domain.agents.calendar_accounts import caldav_account, calendar_feed
from rota.domain.agents.mail_accounts import INBOX, Encryption, ImapAccount, imap_account
from rota.domain.errors import ConflictError
from rota.services.agents.connection_removal import RemovedConnection
from rota.services.agents.reachable import require_public
from rota.shown.connections import (
    ConnectedShown,
    ConnectionCheckShown,
    ConnectionShown,
    checked_json,
    connection_json,
    resume_schedules,
    try_connection,
)
from rota.shown.models import model_of

router = APIRouter(prefix="/connections", tags=["connections"], route_class=StrictRoute)

Name = Annotated[str, Path(description="The connection's name.", examples=["imap"])]
_Port = Annotated[int | None, Field(ge=1, le=65_535)]
_Text = Annotated[str, Field(max_length=1_000)]


class ConnectionAsked(BaseModel):
    """An account to connect: with a password (imap, caldav), or a secret address (ics).

    Fields are those of `rota connections add`. Of providers that rota knows, `account` and
    `secret` are enough.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["imap", "ics", "caldav"]
    name: _Text = Field("", description="What you call it; its kind unless said.")
    replace: bool = Field(False, description="Replace the connection of this name and kind.")
    account: _Text = Field("", description="The address of the account.")
    secret: SecretStr = Field(
        min_length=1,
        max_length=4_000,
        description="imap, caldav: the password for programs. ics: the secret address.",
    )
    login: _Text = Field("", description="The name to sign in with, if not the address.")
    host: _Text = Field("", description="imap: the mail server.")
    port: _Port = None
    encryption: Encryption = "tls"
    folder: _Text = Field(INBOX, description="imap: the folder to read.")
    smtp_host: _Text = Field("", description="imap: the server that sends mail.")
    smtp_port: _Port = None
    smtp_encryption: Encryption | None = None
    url: _Text = Field("", description="caldav: the server, or one calendar.")
    certificate: str = Field(
        "", max_length=100_000, description="The authority to trust, in PEM, for one's own server."
    )


@router.get("", response_model=page_of(ConnectionShown, "ConnectionPage"))
async def list_connections(me: Reader, app: Services, page: Page) -> Response:
    """List your connections by name: what they may do, and their states. Without secrets."""
    now = app.clock()
    found = sorted(await app.connections.all(me.user_id), key=lambda one: one.name)
    last = page.keys(str)
    rest = [connection_json(one, now) for one in found if last is None or one.name > last[0]]
    return answer(page.page(rest, lambda one: (one["name"],), count=len(found)))


@router.post("", status_code=201, response_model=ConnectedShown)
async def add_connection(
    me: Manager,
    app: Services,
    body: Annotated[
        ConnectionAsked,
        Body(
            openapi_examples={
                "mailbox": {
                    "value": {"kind": "imap", "account": "me@example.org", "secret": "pass word"}
                }
            }
        ),
    ],
) -> Response:
    """Connect an account. It is tried first, and stored only if it works.

    Schedules that waited for it go on. Servers that are not on the public network are refused on a
    shared server, but to operators.
    """
    name = await app.connections.free_name(me.user_id, body.kind, body.name)
    there = {one.name for one in await app.connections.all(me.user_id)}
    if name in there and not body.replace:
        raise ConflictError(
            f"There is a connection named {name} already. Choose another `name`, or `replace` it."
        )
    found = await _connected(me, app, body, name)
    resumed = await resume_schedules(app, me.user_id, name)
    shown = connection_json(await app.connections.get(me.user_id, name), app.clock())
    return answer(shown | {"found": found, "resumed": resumed}, 201)


@router.get("/{connection}", response_model=ConnectionShown)
async def get_connection(me: Reader, app: Services, connection: Name) -> Response:
    """Return a connection, without its secret."""
    found = await app.connections.get(me.user_id, connection)
    return answer(connection_json(found, app.clock()))


@router.post("/{connection}/check", response_model=ConnectionCheckShown)
async def check_connection(me: Manager, app: Services, connection: Name) -> Response:
    """Try a connection now, and say how that went. Schedules that waited for it go on."""
    return answer(checked_json(await try_connection(app, me.user_id, connection)))


@router.delete("/{connection}", response_model=model_of(RemovedConnection))
async def delete_connection(me: Manager, app: Services, connection: Name) -> Response:
    """Remove a connection and its secret. A grant of OAuth is revoked at its provider.

    The answer says what is still valid there.
    """
    return answer(await app.connection_removal.remove(me.user_id, connection))


async def _connected(me: Caller, app: App, body: ConnectionAsked, name: str) -> str:
    """Try an account and store it; return what is in it."""
    if body.kind == "imap":
        return await _mailbox(me, app, body, name)
    if body.kind == "ics":
        feed = calendar_feed(body.secret.get_secret_value(), certificate=body.certificate)
        host, secret, account = feed.host, feed.as_secret(), body.account or feed.host
    else:
        opened = caldav_account(
            body.account,
            body.secret.get_secret_value(),
            url=body.url,
            user=body.login,
            certificate=body.certificate,
        )
        host, secret, account = opened.host, opened.as_secret(), body.account or body.login
    await require_reachable(me, address=host)
    return await app.connections.connect(me.user_id, body.kind, secret, name=name, account=account)


async def _mailbox(me: Caller, app: App, body: ConnectionAsked, name: str) -> str:
    mailbox: ImapAccount = imap_account(
        body.account,
        body.secret.get_secret_value(),
        host=body.host,
        port=body.port,
        encryption=body.encryption,
        user=body.login,
        folder=body.folder,
        certificate=body.certificate,
        smtp_host=body.smtp_host,
        smtp_port=body.smtp_port,
        smtp_encryption=body.smtp_encryption,
    )
    await require_reachable(me, host=mailbox.host, smtp_host=mailbox.smtp_host)
    return await app.connections.add_mailbox(
        me.user_id,
        mailbox,
        name=name,
        shown=body.account or body.login,
        has_to_send=bool(body.smtp_host),
    )


async def require_reachable(me: Caller, **hosts: str) -> None:
    """Refuse hosts of the server's own network to all but operators, as a local owner is one."""
    if me.is_operator:
        return
    for field, host in hosts.items():
        if host:
            await require_public(host, field=field)
