"""Decisions of people on pending actions, whatever channel they decide by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import rfc8785

from rota.domain.agents.configuration import RISKS, Risk
from rota.domain.approvals.actions import (
    LONGEST_REASON,
    ActionStatus,
    ApprovalDecision,
    PendingAction,
    Settlement,
    check_via,
    message_to_person,
)
from rota.domain.approvals.argument_edits import (
    holds_redaction,
    with_declared_secrets,
    with_defaults,
    with_secrets,
)
from rota.domain.approvals.call_texts import mail_of
from rota.domain.approvals.review import ActionDetails
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import RunId, UserId
from rota.domain.notifications.notification import NewNotification
from rota.domain.schemas.schema import tool_schema
from rota.domain.text.sentences import sentence
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import storable_json, storable_text
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.hashing import arguments_hash
from rota.security.secrets.redaction import redact, redact_text
from rota.security.secrets.sealing import seal_arguments, unseal_arguments
from rota.services.notifications.service import NotificationService, draft
from rota.services.references import ENOUGH, id_prefix, the_one
from rota.store.agents.connections import list_connections
from rota.store.approvals import actions as rows
from rota.store.approvals.deputies import list_deputies, list_deputies_of
from rota.store.database import Connection, Database, act_as, despite_deadlocks
from rota.store.runs.views import find_runs
from rota.store.users import fetch_time_zone

OPEN: Final = (ActionStatus.PENDING, ActionStatus.UNKNOWN)
"""What a person is asked about."""


MOST_LISTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Decided:
    """An action after a decision on it, or why there was none."""

    action: PendingAction
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as a person saw it: its id, or the beginning of it, its version and its hash."""

    request: str
    version: int
    arguments_hash: str


@dataclass(frozen=True, slots=True)
class DecidedRequest:
    """What came of a decision on one request of many.

    `action` is what it is after the decision. Without one, `problem` says why, and `reached` what
    it is by now: a status, or `edited`; null where there is no such request.
    """

    request: str
    action: PendingAction | None
    problem: str | None = None
    reached: str | None = None


class ApprovalService:
    """Lists, decides and settles actions. It acts as the person."""

    def __init__(
        self, database: Database, cipher: Cipher, notifications: NotificationService
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._cipher = cipher

    async def list_actions(
        self,
        user_id: UserId,
        *,
        statuses: Sequence[ActionStatus] | None = OPEN,
        agent_name: str | None = None,
        tool_name: str | None = None,
        up_to: Risk = "high",
        after: tuple[datetime, UUID] | None = None,
        limit: int = 50,
    ) -> tuple[PendingAction, ...]:
        """Return a person's actions, newest first; those that they are asked about by default.

        Also those of others that were passed on to them as a deputy. `up_to` is the highest risk,
        `after` are `created_at` and the id of the last one of the page before.
        """
        wanted = _filter(statuses, agent_name, tool_name, up_to)
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_actions(conn, wanted, after=after, limit=limit)

    async def count_actions(
        self,
        user_id: UserId,
        *,
        statuses: Sequence[ActionStatus] | None = OPEN,
        agent_name: str | None = None,
        tool_name: str | None = None,
        up_to: Risk = "high",
    ) -> int:
        """Return how many actions `list_actions` finds on all pages."""
        wanted = _filter(statuses, agent_name, tool_name, up_to)
        async with self._database.acting_as(user_id) as conn:
            return await rows.count_actions(conn, wanted)

    async def of_run(self, user_id: UserId, run_id: RunId) -> tuple[PendingAction, ...]:
        """Return what a run asked for, or what it executes, as far as the person may see it."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.find_actions(conn, run_id=run_id, limit=MOST_LISTED)

    async def list_like(
        self, user_id: UserId, reference: str, *, up_to: Risk = "high", limit: int = 1_000
    ) -> tuple[PendingAction, ...]:
        """Return what is pending like one action, itself among them: of its agent, for its tool.

        Raises NotFoundError.
        """
        async with self._database.acting_as(user_id) as conn:
            return await _list_like(conn, await find_action(conn, reference), up_to, limit)

    async def details(
        self, user_id: UserId, reference: str, *, now: datetime, via: str, reveal: bool = False
    ) -> ActionDetails:
        """Return an action with all that helps to decide on it, as the person sees it.

        With `reveal` also the arguments that are shown as redacted: the audit log says who looked.
        Raises NotFoundError, SetupRequiredError where they were encrypted with another key, and
        ConflictError where they were edited meanwhile.
        """
        check_via(via)
        async with self._database.acting_as(user_id) as conn:
            action = await find_action(conn, reference)
            deputies = await list_deputies(conn)
            owners = {one.user_id: one.user_name for one in deputies}
            run_id = action.run_id
            asked = await find_runs(conn, (run_id, run_id), limit=1) if run_id else ()
            details = ActionDetails(
                action,
                viewer=user_id,
                time_zone=await fetch_time_zone(conn, user_id),
                owner_name=(
                    owners.get(action.user_id, str(action.user_id))
                    if action.user_id != user_id
                    else None
                ),
                deputies={
                    one.deputy_id: one.deputy_name
                    for one in deputies
                    if one.user_id == action.user_id
                },
                precedents=await rows.count_precedents(conn, action, now),
                like=tuple(one for one in await _list_like(conn, action) if one.id != action.id),
                schedule_name=asked[0].schedule_name if asked else None,
                prompt=asked[0].prompt if asked else None,
                sender=await _sender(conn, action) if action.user_id == user_id else "",
            )
        if not reveal:
            return details
        async with self._database.transaction() as conn:
            arguments, is_sealed = await self._unsealed(conn, action)
            if is_sealed:
                await rows.record(
                    conn, action.id, "revealed", "not_run", actor=str(user_id), origin=via
                )
        return replace(details, revealed=arguments)

    async def edit(
        self,
        user_id: UserId,
        reference: str,
        arguments: Mapping[str, Any],
        *,
        version: int | None = None,
        approve: bool = False,
        via: str,
    ) -> PendingAction:
        """Replace the arguments of a pending action, which stays pending as a new version.

        With `approve` that version is approved at once: both, or neither. A redaction mark that is
        left where it was shown means the secret that it stands for. What was shown may be left out
        where it is the tool's default.

        Raises InvalidInputError where it is not clear what is meant, or the tool's schema does not
        take it, NotFoundError, and ConflictError as `decide` does.
        """
        check_via(via)

        async def edit() -> PendingAction:
            async with self._database.acting_as(user_id) as conn:
                action = await find_action(conn, reference)
            if action.status is not ActionStatus.PENDING or version not in {None, action.version}:
                raise _conflict(action)
            async with self._database.transaction() as conn:
                made = await self._replace_arguments(conn, user_id, action, arguments, via)
                await act_as(conn, user_id)
                now = await find_action(conn, str(action.id))
                if made is None:
                    raise _conflict(now)
                return await decide_action(conn, now, "approve", via=via) if approve else now

        return await despite_deadlocks(edit)

    async def _replace_arguments(
        self,
        conn: Connection,
        user_id: UserId,
        action: PendingAction,
        arguments: Mapping[str, Any],
        via: str,
    ) -> int | None:
        """Store edited arguments; returns the new version, None where it is too late."""
        given = _checked(action, await self._with_secrets(conn, action, arguments))
        # As it was written, marks and all: not each secret is known by its form.
        schema = action.argument_schema or {}
        written = with_defaults(arguments, action.arguments, schema)
        shown = redact(with_declared_secrets(written, schema))
        made = await rows.edit(
            conn,
            action,
            arguments=shown,
            sealed_arguments=(
                seal_arguments(given, self._cipher, action.id) if shown != given else None
            ),
            arguments_hash=arguments_hash(given),
        )
        if made is None:
            return None
        await rows.record(
            conn,
            action.id,
            "edited",
            "not_run",
            actor=str(user_id),
            origin=via,
            detail=f"version {made}",
        )
        if action.user_id != user_id:
            await self._notifications.write(conn, [await _notice_of_edit(conn, action, user_id)])
        return made

    async def _with_secrets(
        self, conn: Connection, action: PendingAction, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return edited arguments with the secrets of the version that was shown."""
        if not holds_redaction(arguments):
            return arguments
        original, _ = await self._unsealed(conn, action)
        if arguments_hash(original) != action.arguments_hash:
            raise ConflictError("The stored arguments are not those that were asked for.")
        return with_secrets(arguments, action.arguments, original)  # type: ignore[no-any-return]

    async def _unsealed(
        self, conn: Connection, action: PendingAction
    ) -> tuple[Mapping[str, Any], bool]:
        """Return all arguments of an action as it was shown, and whether they were encrypted."""
        found = await rows.fetch_to_execute(conn, action_id=action.id)
        if found is None or found.action.version != action.version:
            raise _conflict(found.action if found is not None else action)
        if found.sealed_arguments is None:
            return found.action.arguments, False
        return unseal_arguments(found.sealed_arguments, self._cipher, action.id), True

    async def settle(
        self, user_id: UserId, reference: str, outcome: Settlement, *, via: str
    ) -> PendingAction:
        """Say what became of an action of unknown outcome; `again` runs it once more.

        Raises NotFoundError, and ConflictError where its outcome is known, or for a deputy.
        """
        check_via(via)
        async with self._database.acting_as(user_id) as conn:
            action = await find_action(conn, reference)
            try:
                async with conn.transaction():
                    await rows.settle(conn, action.id, outcome, via)
            except ConflictError as error:
                status = ActionStatus(error.status or action.status)
                raise ConflictError(
                    f"It is not of unknown outcome: {message_to_person(action, status)}",
                    status=status.value,
                ) from error
            except NotFoundError as error:  # a deputy sees it, and no more
                raise ConflictError("Only its owner can say whether it took effect.") from error
            return await find_action(conn, str(action.id))

    async def find_actions(
        self, user_id: UserId, references: Sequence[str], *, version: int | None = None
    ) -> tuple[PendingAction, ...]:
        """Return actions by their ids, or their beginnings, each once.

        Raises NotFoundError, and ConflictError where one is not at `version`.
        """
        async with self._database.acting_as(user_id) as conn:
            found = [await find_action(conn, reference) for reference in references]
        for action in found:
            if version not in {None, action.version}:
                if action.status is not ActionStatus.PENDING:
                    raise _conflict(action)
                raise ConflictError(
                    f"It is at version {action.version}, not {version}; look at it again.",
                    status="edited",
                )
        return tuple({action.id: action for action in found}.values())

    async def decide_all(
        self,
        user_id: UserId,
        actions: Sequence[PendingAction],
        decision: ApprovalDecision,
        reason: str = "",
        *,
        via: str,
    ) -> tuple[Decided, ...]:
        """Decide on actions as they were shown, each by itself: what cannot be stops no other."""
        decided: list[Decided] = []
        for action in actions:
            try:
                made = await self.decide(
                    user_id,
                    str(action.id),
                    decision,
                    reason,
                    version=action.version,
                    arguments_hash=action.arguments_hash,
                    via=via,
                )
                decided.append(Decided(made))
            except (ConflictError, NotFoundError) as error:
                decided.append(Decided(action, error.message))
        return tuple(decided)

    async def decide_seen(
        self,
        user_id: UserId,
        requests: Sequence[Seen],
        decision: ApprovalDecision,
        reason: str = "",
        *,
        via: str,
    ) -> tuple[DecidedRequest, ...]:
        """Decide on requests as they were seen, each by itself: what cannot be stops no other."""
        decided: list[DecidedRequest] = []
        for seen in requests:
            try:
                made = await self.decide(
                    user_id,
                    seen.request,
                    decision,
                    reason,
                    version=seen.version,
                    arguments_hash=seen.arguments_hash,
                    via=via,
                )
                decided.append(DecidedRequest(seen.request, made))
            except (ConflictError, InvalidInputError, NotFoundError) as error:
                reached = getattr(error, "status", None)
                decided.append(DecidedRequest(seen.request, None, error.message, reached))
        return tuple(decided)

    async def decide(
        self,
        user_id: UserId,
        reference: str,
        decision: ApprovalDecision,
        reason: str = "",
        *,
        version: int | None = None,
        arguments_hash: str | None = None,
        via: str,
    ) -> PendingAction:
        """Approve an action, which then runs once, or refuse it.

        `version` and hash are of the arguments that were shown; the agent reads the reason as a
        quotation. `via` names the program that the person used, for the audit log: `my_app`.

        Raises InvalidInputError for a `via` that is no name, NotFoundError, and ConflictError where
        it was decided, expired or edited meanwhile.
        """
        check_via(via)
        # As it is stored, and as the agent and the audit log have it.
        stored = shorten(redact_text(storable_text(reason.strip())), LONGEST_REASON)

        async def decide() -> PendingAction:
            async with self._database.acting_as(user_id) as conn:
                action = await find_action(conn, reference)
                return await decide_action(
                    conn,
                    action,
                    decision,
                    version=version,
                    arguments_hash=arguments_hash,
                    reason=stored,
                    via=via,
                )

        return await despite_deadlocks(decide)


async def _sender(conn: Connection, action: PendingAction) -> str:
    """Return the account of the mailbox that a mail would come from, "" for any other call."""
    mail = mail_of(action.tool_name, action.arguments)
    if mail is None or not mail.mailbox:
        return ""
    found = await list_connections(conn)
    return next((one.account for one in found if one.name == mail.mailbox), "")


async def decide_action(
    conn: Connection,
    action: PendingAction,
    decision: ApprovalDecision,
    *,
    version: int | None = None,
    arguments_hash: str | None = None,
    reason: str = "",
    via: str,
) -> PendingAction:
    """Decide on an action in the transaction of a person; returns it as it is then.

    `version` and hash are of the arguments that were shown, by default the action's. Raises as
    `ApprovalService.decide`. Whoever calls it repeats the transaction after a deadlock.
    """
    try:
        async with conn.transaction():
            await rows.decide(
                conn,
                action.id,
                decision,
                version=action.version if version is None else version,
                arguments_hash=arguments_hash or action.arguments_hash,
                reason=reason,
                via=via,
            )
    except ConflictError as error:
        raise _conflict(await _now(conn, action), error.status) from error
    except NotFoundError as error:  # not their deputy any more
        raise NotFoundError("request", str(action.id)) from error
    return await find_action(conn, str(action.id))


async def _list_like(
    conn: Connection, action: PendingAction, up_to: Risk = "high", limit: int = 1_000
) -> tuple[PendingAction, ...]:
    """Return what is pending of an action's owner and agent, for its tool."""
    wanted = _filter([ActionStatus.PENDING], action.agent_name, action.tool_name, up_to)
    found = await rows.list_actions(conn, wanted, limit=limit)
    return tuple(one for one in found if one.user_id == action.user_id)


def _filter(
    statuses: Sequence[ActionStatus] | None,
    agent_name: str | None,
    tool_name: str | None,
    up_to: Risk,
) -> rows.ActionFilter:
    risks = RISKS[: RISKS.index(up_to) + 1]
    every = tuple(ActionStatus) if statuses is None else tuple(statuses)
    return rows.ActionFilter(every, agent_name, tool_name, risks)


async def _notice_of_edit(
    conn: Connection, action: PendingAction, deputy_id: UserId
) -> NewNotification:
    """Return what tells an owner that a deputy changed what is asked for."""
    deputies = await list_deputies_of(conn, [action.user_id])
    name = next((d.deputy_name for d in deputies if d.deputy_id == deputy_id), str(deputy_id))
    return draft(
        action.user_id,
        f"{name} changed what {action.agent_name} asked for, in your place",
        f"A call of {action.tool_name} waits with other arguments now. Look at it before you "
        f"decide: `rota approvals show {str(action.id)[:8]}`.",
        metadata={"action_id": str(action.id), "changed_by": str(deputy_id)},
        run_id=action.run_id,
    )


async def _now(conn: Connection, action: PendingAction) -> PendingAction:
    """Return an action as it is by now; as it was, where a deputy does not see it any more."""
    found = await rows.find_actions(conn, prefix=str(action.id), limit=1)
    return found[0] if found else action


def _checked(action: PendingAction, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return edited arguments as they are stored; raises InvalidInputError."""
    given: dict[str, Any] = storable_json(arguments)
    try:
        rfc8785.dumps(dict(arguments))
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise InvalidInputError(
            sentence(f"The arguments cannot be written as JSON: {error}"), field="arguments"
        ) from error
    if given != arguments:
        raise InvalidInputError(
            "The arguments have characters that cannot be stored.", field="arguments"
        )
    if action.argument_schema is None:
        raise InvalidInputError(
            f"{action.tool_name} has no schema, so arguments cannot be changed. Refuse "
            "the request with a reason, and the agent may ask again.",
            field="arguments",
        )
    # A misspelt name would be dropped by the tool, and what runs would not be what was meant.
    schema = tool_schema(action.argument_schema)
    if schema is not None and (problems := schema.problems(given)):
        raise InvalidInputError(
            f"{action.tool_name} does not take that: {' '.join(problems)}", field="arguments"
        )
    return with_defaults(given, action.arguments, action.argument_schema)


def _conflict(action: PendingAction, said: str | None = None) -> ConflictError:
    """Say why an action is not decided on: as it is by now, or as was `said` a moment ago."""
    if action.status is not ActionStatus.PENDING:
        return ConflictError(
            f"It is not pending any more: {message_to_person(action, action.status)}",
            status=action.status.value,
        )
    if said in {None, "edited", "pending"}:
        return ConflictError(
            "The request was changed after it was shown. Read it again.", status="edited"
        )
    if said == "expired":
        return ConflictError("The request has expired: nobody decided in time.", status=said)
    # What a deputy does not see any more.
    return ConflictError(
        f"It is not pending any more: {message_to_person(action, ActionStatus(said))}", status=said
    )


async def find_action(conn: Connection, reference: str) -> PendingAction:
    """Return an action that the transaction's person sees, by the beginning of its id.

    Raises NotFoundError, and InvalidInputError where it fits several.
    """
    prefix = id_prefix(reference)
    found = await rows.find_actions(conn, prefix=prefix, limit=ENOUGH) if prefix else ()
    return the_one("request", reference, found, hint="See `rota approvals list`.")
