"""Sends mail by SMTP (RFC 6409): to all of its recipients, or to none.

The connection is encrypted before anything is said, by TLS or STARTTLS, and the certificate is
verified. Until the message itself is handed over, every failure means that nothing was sent. If the
server falls silent after that, nobody knows: `OutcomeUnknownError`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import aiosmtplib
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from rota.agents.tools.mail.sending.outgoing import OutgoingMail
from rota.domain.agents.connections import LoginRefusedError
from rota.domain.agents.mail_accounts import SENDING, ImapAccount, provider_of
from rota.domain.approvals.actions import OutcomeUnknownError
from rota.domain.errors import InvalidInputError, RotaError, SetupRequiredError, UnavailableError
from rota.domain.text.cleaning import clean_line
from rota.domain.text.storable import cut

_CONNECT_SECONDS: Final = 15.0
_ANSWER_SECONDS: Final = 30.0
_UNTIL_DATA: Final = 60.0
"""Seconds until the message is handed over, all commands together."""

_DATA_SECONDS: Final = 100.0
"""Seconds for the message and its answer. Giving up early leaves more outcomes unknown."""

_NOTHING_SENT: Final = "Nothing was sent. "
_MOST_NAMED: Final = 5
_WHAT: Final = "connection"
"""What its owner has to set up, where an account cannot send; its user adds its name."""

_MY_NAME: Final = "[127.0.0.1]"
"""How rota introduces itself: the name of a person's machine is nobody's business."""


class SmtpServer:
    """The server that sends the mail of an account.

    Every method raises SetupRequiredError for what its owner has to mend (LoginRefusedError for a
    wrong password), UnavailableError for what may pass.
    """

    def __init__(self, account: ImapAccount) -> None:
        """Raise SetupRequiredError for an account that can only be read."""
        if SENDING not in account.scopes:
            raise SetupRequiredError(
                f"The mailbox of {account.user} can be read only. Connect it again with "
                "--account ADDRESS and --smtp-host HOST, the server that sends its mail.",
                what=_WHAT,
            )
        self._account = account

    async def check(self) -> None:
        """Sign in, and send nothing."""
        async with self._signed_in(outcome=""):
            pass

    async def send(self, mail: OutgoingMail) -> None:
        """Send a mail to all of its recipients.

        Raises InvalidInputError for recipients or a message that the server refuses, and
        OutcomeUnknownError where the server did not say whether it took the message.
        """
        message = mail.as_bytes()
        async with self._signed_in(needs_utf8=mail.needs_utf8) as client:
            with self._translated():
                async with asyncio.timeout(_UNTIL_DATA):
                    await self._address(client, mail, len(message))
            await self._hand_over(client, message)

    async def _address(self, client: aiosmtplib.SMTP, mail: OutgoingMail, size: int) -> None:
        host = self._account.smtp_host
        most = client.esmtp_extensions.get("size", "").split(" ")[0]
        if most.isdecimal() and 0 < int(most) < size:
            raise InvalidInputError(
                f"The mail has {size:,} bytes, and {host} takes {int(most):,} at most. "
                "It was not sent."
            )
        options = [f"SIZE={size}"] if client.supports_extension("size") else []
        options += ["SMTPUTF8"] if mail.needs_utf8 else []
        encoding = "utf-8" if mail.needs_utf8 else "ascii"
        await client.mail(mail.sender.addr_spec, options=options, encoding=encoding)
        refused: list[SMTPRecipientRefused] = []
        for recipient in mail.recipients:
            try:
                await client.rcpt(recipient, encoding=encoding)
            except SMTPRecipientRefused as error:
                refused.append(error)
        if refused:
            raise self._refused(refused)

    def _refused(self, refused: list[SMTPRecipientRefused]) -> RotaError:
        """Say who is not taken, and that nobody got it."""
        host = self._account.smtp_host
        named = "; ".join(f"{one.recipient} ({_said(one)})" for one in refused[:_MOST_NAMED])
        more = f" and {len(refused) - _MOST_NAMED} more" if len(refused) > _MOST_NAMED else ""
        if all(_may_pass(one) for one in refused):
            return UnavailableError(
                f"{host} does not take mail for {named}{more} at the moment. It was sent to "
                "nobody. Try again later.",
                service="smtp",
            )
        return InvalidInputError(f"{host} refuses {named}{more}. The mail was sent to nobody.")

    async def _hand_over(self, client: aiosmtplib.SMTP, message: bytes) -> None:
        host = self._account.smtp_host
        try:
            async with asyncio.timeout(_DATA_SECONDS):
                await client.data(message, timeout=_DATA_SECONDS)
        except SMTPDataError as error:
            if _may_pass(error):
                raise UnavailableError(
                    f"{host} does not take the mail at the moment: {_said(error)}. It was not "
                    "sent. Try again later.",
                    service="smtp",
                ) from error
            raise InvalidInputError(
                f"{host} refused the mail: {_said(error)}. It was not sent."
            ) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise OutcomeUnknownError(
                f"{host} did not say whether it took the mail: the connection ended after the "
                "message was handed over. It may have been sent.",
                service="smtp",
            ) from error

    @asynccontextmanager
    async def _signed_in(
        self, *, needs_utf8: bool = False, outcome: str = _NOTHING_SENT
    ) -> AsyncIterator[aiosmtplib.SMTP]:
        account = self._account
        client = aiosmtplib.SMTP(
            hostname=account.smtp_host,
            port=account.smtp_port,
            use_tls=account.smtp_encryption == "tls",
            start_tls=account.smtp_encryption == "starttls",
            tls_context=ssl.create_default_context(cadata=account.certificate or None),
            local_hostname=_MY_NAME,
            timeout=_ANSWER_SECONDS,
        )
        transport: asyncio.BaseTransport | None = None
        try:
            with self._translated(outcome):
                async with asyncio.timeout(_UNTIL_DATA):
                    await client.connect(timeout=_CONNECT_SECONDS)
                    transport = client.transport
                    await client.ehlo()
                    await self._sign_in(client)
            if needs_utf8 and not client.supports_extension("smtputf8"):
                raise InvalidInputError(
                    f"{account.smtp_host} does not send to addresses with letters beyond a to z "
                    "before the @. The mail was not sent."
                )
            yield client
            with suppress(SMTPException, OSError, TimeoutError):  # all is said already
                await client.quit(timeout=5)
        finally:
            client.close()
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # TLS would wait for the server to say goodbye
            await asyncio.sleep(0)

    async def _sign_in(self, client: aiosmtplib.SMTP) -> None:
        """Sign in in one way: a server counts each refusal towards locking the account."""
        account = self._account
        methods = client.server_auth_methods
        if account.token:
            if "xoauth2" not in methods:
                raise UnavailableError(
                    f"{account.smtp_address} takes no access token at the moment.", service="smtp"
                )
            await client.auth_xoauth2(account.user, account.token)
        elif "plain" in methods:
            await client.auth_plain(account.user, account.password)
        elif "login" in methods:
            await client.auth_login(account.user, account.password)
        else:
            raise SetupRequiredError(
                f"{account.smtp_address} offers no way to sign in with a password. Are --smtp-port "
                "and --smtp-encryption right?",
                what=_WHAT,
            )

    @contextmanager
    def _translated(self, outcome: str = _NOTHING_SENT) -> Iterator[None]:
        """Turn what the protocol, TLS and the network raise into sentences, with the outcome."""
        account, where = self._account, self._account.smtp_address
        try:
            yield
        except SMTPAuthenticationError as error:
            if _may_pass(error):
                raise UnavailableError(
                    f"{where} lets nobody in at the moment: {_said(error)}. Try again later.",
                    service="smtp",
                ) from error
            known = provider_of(account.user)
            advice = f" {known.advice}" if known is not None and not account.token else ""
            raise LoginRefusedError(
                f"{where} refused the {'access token' if account.token else 'password'} of "
                f"{account.user}, so no mail can be sent: {_said(error)}.{advice}"
            ) from error
        except SMTPSenderRefused as error:
            raise self._sender_refused(error) from error
        except SMTPResponseException as error:
            raise UnavailableError(
                f"{where} refused to go on: {_said(error)}. {outcome}Try again later.",
                service="smtp",
            ) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise self._unreachable(error, outcome) from error

    def _sender_refused(self, error: SMTPSenderRefused) -> RotaError:
        account = self._account
        if error.code == 552:  # what SIZE= said is too large
            return InvalidInputError(
                f"{account.smtp_host} refused the mail: {_said(error)}. It was not sent."
            )
        if _may_pass(error):
            return UnavailableError(
                f"{account.smtp_host} sends nothing for {account.sender} at the moment: "
                f"{_said(error)}. Try again later.",
                service="smtp",
            )
        return SetupRequiredError(
            f"{account.smtp_host} does not let {account.user} send as {account.sender}: "
            f"{_said(error)}. Is that the mailbox's address? Connect it again with --account.",
            what=_WHAT,
        )

    def _unreachable(self, error: BaseException, outcome: str) -> RotaError:
        where = self._account.smtp_address
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return SetupRequiredError(
                    f"The certificate of {where} does not verify "
                    f"({cause.verify_message.rstrip('.')}), so rota did not send it the password. "
                    "Is the server's name right? For a server of your own, connect the mailbox "
                    "again with --certificate FILE, its authority's in PEM.",
                    what=_WHAT,
                )
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return UnavailableError(
                f"{where} does not speak TLS as expected. Are --smtp-port and --smtp-encryption "
                "right?",
                service="smtp",
            )
        if isinstance(error, TimeoutError):
            return UnavailableError(
                f"{where} did not answer in time. {outcome}Try again later.",
                service="smtp",
            )
        if isinstance(error, SMTPServerDisconnected):
            return UnavailableError(
                f"{where} ended the connection. {outcome}Try again later.",
                service="smtp",
            )
        if not isinstance(error, SMTPConnectError | OSError):  # STARTTLS is not offered
            return SetupRequiredError(
                f"{where} does not offer what is needed ({_clean(str(error))}), and rota sends no "
                "password unencrypted. Try the other of --smtp-encryption tls and starttls.",
                what=_WHAT,
            )
        numbers = [cause.errno for cause in causes if isinstance(cause, OSError)]
        known = next((errno.errorcode.get(n or 0) and os.strerror(n) for n in numbers if n), "")
        reason = known or str(causes[-1])
        return UnavailableError(
            f"{where} cannot be reached: {_clean(reason)}. {outcome}Try again later.",
            service="smtp",
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _may_pass(error: SMTPResponseException) -> bool:
    """Return whether a refusal is one for now (RFC 5321): greylisting, a limit, a full disk."""
    return 400 <= error.code < 500


def _said(error: SMTPResponseException) -> str:
    """Return a server's code and words, on one line."""
    return f"{error.code} {_clean(error.message)}".strip()


def _clean(text: str) -> str:
    return cut(clean_line(text), 300).text.rstrip(".")
