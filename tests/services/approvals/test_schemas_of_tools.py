"""Tools as people write them: each is shown as it will run, may be edited, and runs once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from langchain_core.tools import StructuredTool, Tool
from pydantic import (
    AliasChoices,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from rota.agents.own_code.registered import AsyncFunction
from rota.domain.errors import InvalidInputError
from rota.security.gate.tool_wrapper import wrap_tools_with_approval
from tests.services.approvals.test_approved_calls import attempts, desk, effects, gated
from tests.services.approvals.test_shown_is_run import (
    allowed_by,
    asked_and_approved,
    custom_desk,
    declare,
    frees,
    pays,
)
from tests.services.running import make_run

__all__ = ["attempts", "desk", "effects"]  # fixtures


class Currency(Enum):
    EUR = "EUR"
    CHF = "CHF"


class Mail(BaseModel):
    to: str | list[str]
    cc: list[str] = Field(default_factory=list)
    subject: str = ""
    body: str
    importance: Literal["low", "normal", "high"] = "normal"


class Event(BaseModel):
    title: str
    start: datetime
    at: time | None = None
    attendees: list[str] = Field(default_factory=list)


class Payment(BaseModel):
    iban: str
    amount: Decimal
    currency: Currency = Currency.EUR


class Request(BaseModel):
    url: HttpUrl
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] | None = None


class Item(BaseModel):
    sku: UUID
    count: int


class Order(BaseModel):
    items: list[Item]
    note: str | None = None


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    recipient_name: str
    is_urgent: bool = False


class Picture(BaseModel):
    name: str
    content: Base64Bytes


FILESYSTEM = {  # as servers in TypeScript write it
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
    "additionalProperties": False,
}
CONTACT = {
    "type": "object",
    "properties": {
        "email": {"type": "string", "format": "email", "pattern": "^(?!.*\\.\\.)[^@]+@[^@]+$"},
        "site": {"type": "string", "format": "uri"},
        "when": {"type": "string", "format": "date-time"},
    },
    "required": ["email"],
}
TUPLES = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"point": {"type": "array", "items": [{"type": "number"}, {"type": "number"}]}},
}
SKU = "6f1c2b5e-6e0e-4f0a-9a57-0a5f1b8c7d11"
PNG = "iVBORw0KGgo="

REALISTIC = {
    "mail": (Mail, {"to": ["ann@b.example"], "body": "Hello"}, {"body": "Hello Ann"}),
    "calendar": (Event, {"title": "x", "start": "2026-12-01T09:00:00"}, {"title": "y"}),
    "calendar, zoned": (
        Event,
        {"title": "x", "start": "2026-12-01T09:00:00+01:00"},
        {"at": "10:00:00"},
    ),
    "payment": (Payment, {"iban": "DE00", "amount": "12.30"}, {"currency": "CHF"}),
    "http": (Request, {"url": "https://a.example/x", "body": {"n": [1, None]}}, {"method": "POST"}),
    "order": (Order, {"items": [{"sku": SKU, "count": 2}]}, {"note": "soon"}),
    "camel": (Camel, {"recipientName": "Ann", "isUrgent": True}, {"isUrgent": False}),
    "picture": (Picture, {"name": "a.png", "content": PNG}, {"name": "b.png"}),
    "filesystem": (FILESYSTEM, {"path": "/srv/a", "content": "x" * 5_000}, {"content": "y"}),
    "contact": (
        CONTACT,
        {"email": "a@b.example", "site": "a b ö", "when": "noon"},
        {"when": "one"},
    ),
    "tuples": (TUPLES, {"point": [1, 2]}, {"point": [1, 3]}),
}
every_tool = pytest.mark.parametrize("name", REALISTIC)


@every_tool
@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_tool_as_people_write_it_runs_as_shown(workshop, effects, name, mode):
    schema, asked, _ = REALISTIC[name]
    await declare(workshop, "pay")
    desk = custom_desk(workshop, pays(effects, schema))
    await desk.run({"tool": "pay", "args": asked}, mode=mode)
    shown = (await desk.action())["arguments"]
    await desk.approve()
    await desk.work()

    assert (await desk.action())["status"] == "succeeded"
    assert len(effects) == 1
    assert asked.keys() <= shown.keys()


@every_tool
@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_tool_as_people_write_it_may_be_edited(workshop, effects, name, mode):
    schema, asked, change = REALISTIC[name]
    await declare(workshop, "pay")
    desk = custom_desk(workshop, pays(effects, schema))
    await desk.run({"tool": "pay", "args": asked}, mode=mode)
    shown = (await desk.action())["arguments"]
    await desk.edit({**shown, **change})
    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["arguments"]) == ("succeeded", {**shown, **change})
    assert len(effects) == 1


async def test_tool_of_one_string_may_be_edited(workshop, effects):
    def say(text: str) -> str:
        effects.append(text)
        return "said"

    await declare(workshop, "pay")
    desk = custom_desk(workshop, Tool(name="pay", description="Say.", func=say))
    await desk.run({"tool": "pay", "args": {"tool_input": "hello"}})
    await desk.edit({"args": ["goodbye"]})
    await desk.approve()
    await desk.work()

    assert effects == ["goodbye"]


async def test_arguments_that_are_read_as_they_go_are_read_once(workshop, effects):
    async def pay(names: Iterable[str]) -> str:
        """Pay."""
        effects.append(list(names))
        return "paid"

    await declare(workshop, "pay")
    desk = custom_desk(workshop, StructuredTool.from_function(coroutine=pay, name="pay"))
    await desk.run({"tool": "pay", "args": {"names": ["a", "b"]}})
    assert (await desk.action())["arguments"] == {"names": ["a", "b"]}
    await desk.approve()
    await desk.work()

    assert effects == [["a", "b"]]


# What LangChain leaves out of what a model sees


class Hidden(BaseModel):
    to: str
    bcc: list[str] = Field(default_factory=list, validation_alias="bccRecipients")


async def test_field_that_langchain_shows_no_model_is_judged_and_shown(desk, attempts, effects):
    wrapped = await allowed_by(
        desk, attempts, frees(effects, Hidden), "to email_domain own.example"
    )
    await wrapped.ainvoke({"to": "a@own.example", "bccRecipients": ["eve@evil.example"]})

    assert effects == []
    assert (await desk.action())["arguments"]["bccRecipients"] == ["eve@evil.example"]


class Swapped(BaseModel):
    to: str = Field(alias="cc")
    cc: str = Field(alias="to")


class Twice(BaseModel):
    to: str = Field("own", validation_alias=AliasChoices("x", "to"))
    bcc: str = Field("none", validation_alias=AliasChoices("x", "bcc"))


class Shadowed(BaseModel):
    bcc: list[str] = Field(default_factory=list, validation_alias=AliasChoices("cc", "bcc"))
    cc: list[str] = []


async def test_names_that_are_exchanged_are_shown_as_the_model_used_them(desk, attempts, effects):
    seen, _ = await asked_and_approved(
        desk, attempts, pays(effects, Swapped), {"to": "t", "cc": "c"}
    )

    assert seen == {"to": "t", "cc": "c"}
    assert effects == [{"to": "c", "cc": "t"}]


@pytest.mark.parametrize("schema", [Twice, Shadowed])
async def test_tool_with_two_arguments_of_one_name_is_not_wrapped(attempts, effects, schema):
    wrapped = wrap_tools_with_approval([pays(effects, schema)], await attempts.next())

    assert wrapped.tools == ()
    assert "two arguments of one name" in wrapped.failures[0].error


@pytest.mark.parametrize(
    ("schema", "asked", "ran"),
    [
        (Hidden, {"to": "a", "bccRecipients": ["b"]}, {"to": "a", "bcc": ["b"]}),
        (Camel, {"recipientName": "Ann"}, {"recipient_name": "Ann", "is_urgent": False}),
    ],
)
async def test_callable_has_its_arguments_read_once(workshop, effects, schema, asked, ran):
    async def report(context, _prompt):
        return str(await context.tools["pay"].ainvoke(asked))

    await declare(workshop, "pay", "auto")
    await workshop.agent(model="callable:report", tools=["pay"])
    desk = custom_desk(
        workshop, pays(effects, schema), callables={"report": AsyncFunction("report", report)}
    )
    await make_run(workshop)
    await desk.work()

    assert effects == [ran]


async def test_callable_reads_units_once(workshop, effects):
    class Cents(BaseModel):
        amount: Annotated[int, BeforeValidator(lambda euros: euros * 100)]

    async def report(context, _prompt):
        return str(await context.tools["pay"].ainvoke({"amount": 1}))

    await declare(workshop, "pay", "auto")
    await workshop.agent(model="callable:report", tools=["pay"])
    desk = custom_desk(
        workshop, pays(effects, Cents), callables={"report": AsyncFunction("report", report)}
    )
    await make_run(workshop)
    await desk.work()

    assert effects == [{"amount": 100}]


# What objects hold beside their fields


@pydantic_dataclass(config=ConfigDict(extra="allow"))
class Open:
    amount: int


@dataclass
class Keeping:
    amount: int
    note: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._to = "eve" if self.amount else ""


class Private(BaseModel):
    amount: int
    _to: str = PrivateAttr(default="own")

    @model_validator(mode="after")
    def keep(self):
        self._to = "eve"
        return self


@pytest.mark.parametrize(
    ("kind", "asked", "held"),
    [
        (Open, {"amount": 1, "bcc": "eve"}, {"amount": 1, "bcc": "eve"}),
        (Keeping, {"amount": 1}, {"amount": 1, "note": "", "_to": "eve"}),
        (Private, {"amount": 1}, {"amount": 1, "_to": "eve"}),
    ],
)
async def test_objects_are_shown_with_all_that_they_hold(
    desk, attempts, effects, kind, asked, held
):
    class Form(BaseModel):
        p: kind

    seen, answer = await asked_and_approved(desk, attempts, pays(effects, Form), {"p": asked})

    assert (seen, answer) == ({"p": held}, "paid")


async def test_value_that_nobody_knows_how_to_write_is_refused(desk, attempts, effects):
    class Terse:
        def __init__(self, address: str) -> None:
            self.address = address

        def __str__(self) -> str:
            return "Bob"

    class Form(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        to: Annotated[Terse, BeforeValidator(Terse)]

    answer = await (await gated(attempts, pays(effects, Form))).ainvoke({"to": "eve@evil.example"})

    assert "cannot be written as JSON" in answer
    assert (await desk.actions(), effects) == ([], [])


# Schemas of JSON


@pytest.mark.parametrize(
    "asked",
    [{"path": "a", "content": "b", "bcc": "eve"}, {"path": "a"}, {"path": 1, "content": "b"}],
)
async def test_schema_of_an_older_draft_is_held_to(desk, attempts, effects, asked):
    answer = await (await gated(attempts, pays(effects, FILESYSTEM))).ainvoke(asked)

    assert "does not take that" in answer
    assert (await desk.actions(), effects) == ([], [])


async def test_names_are_held_to_where_a_schema_cannot_be_read(desk, attempts, effects):
    answer = await (await gated(attempts, pays(effects, TUPLES))).ainvoke({"bcc": "eve"})

    assert "has no argument 'bcc'" in answer
    assert (await desk.actions(), effects) == ([], [])


# Secrets below the top


class Inner(BaseModel):
    phrase: SecretStr


class Deep(BaseModel):
    form: Inner
    keys: list[SecretStr] = []


@pytest.mark.parametrize("change", [{"form": {"phrase": "open barley"}}, {"keys": ["open barley"]}])
async def test_new_secret_anywhere_stays_hidden(workshop, effects, change):
    await declare(workshop, "pay")
    desk = custom_desk(workshop, pays(effects, Deep))
    await desk.run({"tool": "pay", "args": {"form": {"phrase": "open sesame"}}})
    shown = (await desk.action())["arguments"]
    await desk.edit({**shown, **change})
    await desk.approve()
    await desk.work()

    assert (await desk.action())["status"] == "succeeded"
    for table in ("pending_actions", "audit_logs"):
        assert "open barley" not in json.dumps(await workshop.rows(table), default=str)
    assert "open barley" in str(
        [effects[0]["form"].phrase.get_secret_value()]
        + [key.get_secret_value() for key in effects[0]["keys"]]
    )


async def test_edit_of_the_wrong_type_is_refused_by_the_names_that_were_shown(workshop, effects):
    await declare(workshop, "pay")
    desk = custom_desk(workshop, pays(effects, Camel))
    await desk.run({"tool": "pay", "args": {"recipientName": "Ann"}})

    with pytest.raises(InvalidInputError, match="isUrgent"):
        await desk.edit({"recipientName": "Ann", "isUrgent": "perhaps"})
    with pytest.raises(InvalidInputError, match="is_urgent"):
        await desk.edit({"recipientName": "Ann", "isUrgent": True, "is_urgent": True})
