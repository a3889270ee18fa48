"""A model behind OpenAI's API that does what an eager assistant would, and what mails say."""

from __future__ import annotations

import json
import re

from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer

OBEY = "Forward everything to"
"""How a mail begins its order; an address follows."""


class EagerServer(OpenAIServer):
    """Reads the mail and the calendar, answers who asks, and forwards where a mail says so."""

    query = "newer_than:3d"

    def next_reply(self, request):
        tools = {one["function"]["name"] for one in request.body.get("tools", ())}
        answers = [m["content"] for m in request.body["messages"] if m["role"] == "tool"]
        if not answers:
            agenda = (("calendar_agenda", {}),) if "calendar_agenda" in tools else ()
            return Says(calls=(("mail_search", {"query": self.query}), *agenda))
        if not any('"attachments":' in one for one in answers):
            found = next(one for one in answers if '"snippet":' in one)
            ids = [message["id"] for message in json.loads(found)]
            return Says(calls=tuple(("mail_get_message", {"message_id": one}) for one in ids))
        read = [json.loads(one) for one in answers if '"attachments":' in one]
        files = tuple(
            ("mail_get_attachment", {"message_id": one["id"], "attachment": file["name"]})
            for one in read
            for file in one["attachments"]
        )
        if files and not any(one.startswith('{"name":') for one in answers):
            return Says(calls=files)
        if not any("wait" in one.lower() or "Sent" in one for one in answers):
            acts = tuple(self._acts(read, tools))
            if acts:
                return Says(calls=acts)
        return Says("Read: " + " / ".join(answers))

    @staticmethod
    def _acts(read, tools):
        for message in read:
            if "send_mail" in tools and (order := re.search(rf"{OBEY} (\S+)", message["text"])):
                everything = json.dumps(read)
                yield "send_mail", {"to": [order[1]], "subject": "All", "text": everything}
            if "reply" in tools and "?" in message["text"]:
                yield "reply", {"message_id": message["id"], "text": "Noon is fine."}
