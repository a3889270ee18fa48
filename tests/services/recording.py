"""What an attempt writes with: its buffer, its step log and its call ledger, without its agent."""

from __future__ import annotations

from dataclasses import dataclass

from rota.domain.runs.options import RunOptions
from rota.domain.runs.run import Claim, Run
from rota.services.approvals.held_calls import HeldCalls
from rota.services.notifications.service import NotificationService
from rota.services.runs.call_ledger import CallLedger
from rota.services.runs.journal_writer import JournalWriter, WriteBuffer
from rota.services.runs.step_log import StepLog
from tests.services.harness import CIPHER, Workshop, clock


@dataclass(frozen=True)
class Recording:
    """Of one attempt."""

    buffer: WriteBuffer
    steps: StepLog
    ledger: CallLedger


def recording(
    workshop: Workshop, run: Run, claim: Claim, options: RunOptions | None = None
) -> Recording:
    database = workshop.database
    buffer = WriteBuffer(JournalWriter(database), run, claim, day=clock().date())
    steps = StepLog(buffer)
    held = HeldCalls(
        database, NotificationService(database), run, claim, options or RunOptions(), CIPHER
    )
    return Recording(buffer, steps, CallLedger(buffer, steps, held, clock=clock))
