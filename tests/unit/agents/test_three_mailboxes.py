"""Mailboxes that nobody here wrote, read by rota and by an independent reader.

The messages of CPython's own tests (where Python is installed with them) are put into an mbox and
a Maildir. Whole mailboxes to compare are named in ROTA_TEST_MAILBOXES, separated by colons; so
were compared, without a difference, mailarc-1.txt (16 messages), mailarc-2.txt (5), mailarc-3.txt
(17) and malformed.txt (54) of Debian's source package libmail-mbox-messageparser-perl, testmbox
(10) of libemail-folder-perl, sample.mbox (18) and rfc2047-samples.mbox (11) of git, and the
Maildir test/corpora/default (26) of notmuch.
"""

import mailbox
import os
import sysconfig
from pathlib import Path

import pytest

from rota.agents.tools.mail.folder import MailFolder
from rota.sample import sample_mailbox_path
from tests.unit.agents.independent_mail_reader import differences

CPYTHON = Path(sysconfig.get_path("stdlib")) / "test" / "test_email" / "data"
NAMED = [path for path in os.environ.get("ROTA_TEST_MAILBOXES", "").split(":") if path]


@pytest.fixture
def cpython_messages():
    if not CPYTHON.is_dir():
        pytest.skip("this Python is installed without its test suite")
    return [path.read_bytes() for path in sorted(CPYTHON.glob("msg_*.txt"))]


def test_cpythons_messages_in_an_mbox(cpython_messages, tmp_path):
    path = tmp_path / "cpython.mbox"
    box = mailbox.mbox(path)
    for data in cpython_messages:
        box.add(data)
    box.close()
    assert list(differences(path)) == []
    assert len(list(MailFolder.open(path).messages())) == len(cpython_messages) >= 40


def test_cpythons_messages_in_a_maildir(cpython_messages, tmp_path):
    path = tmp_path / "cpython"
    box = mailbox.Maildir(path)
    for data in cpython_messages:
        box.add(data)
    assert list(differences(path)) == []


def test_the_sample_mailbox():
    assert list(differences(sample_mailbox_path())) == []


@pytest.mark.skipif(not NAMED, reason="ROTA_TEST_MAILBOXES names no mailboxes")
@pytest.mark.parametrize("name", NAMED)
def test_a_named_mailbox(name):
    assert list(differences(Path(name))) == []
