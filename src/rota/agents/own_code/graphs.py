"""Inspects an operator's graph: which input it takes, and which tools it brings along."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, get_type_hints

from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic.errors import PydanticUserError

from rota.domain.errors import InvalidInputError

_PROMPT_NAMES: Final = ("prompt", "input", "question", "query")
"""Names by which a graph without messages may take its prompt."""

_HANDS_OVER: Final = "__handoff_destination"
"""In the metadata of tools of langgraph-supervisor and langgraph-swarm that hand over."""


def input_of(graph: Any, prompt: str) -> Any:
    """Return a prompt in the form that a graph takes; raises InvalidInputError."""
    names = _input_names(graph)
    if names is None:
        return prompt
    if "messages" in names or not names:
        return {"messages": [HumanMessage(prompt)]}
    for name in _PROMPT_NAMES:
        if name in names:
            return {name: prompt}
    raise InvalidInputError(
        f"The graph takes {', '.join(names)}; give its state `messages` or one of "
        f"{', '.join(_PROMPT_NAMES)}, so that it can be given the prompt.",
        field="model",
    )


def tools_of(graph: Any) -> dict[str, BaseTool]:
    """Return the tools that a graph and the graphs in it bring, by name, as far as can be seen."""
    if not isinstance(graph, Pregel):
        return {}
    found: dict[str, BaseTool] = {}
    for one in (graph, *(inner for _, inner in graph.get_subgraphs(recurse=True))):
        for node in getattr(one, "nodes", {}).values():
            brought = getattr(getattr(node, "bound", None), "tools_by_name", None)
            if isinstance(brought, Mapping):
                found.update(brought)
    return found


def declaring(name: str, tool: BaseTool | None) -> str:
    """Return what to type so that calls of a graph's own tool run, where that is all right."""
    if tool is not None and (tool.metadata or {}).get(_HANDS_OVER):
        facts = "--read-only --risk low --tier auto --no-outside-text --stays-inside"
        return f"rota tools declare {name} {facts}"
    return (
        f"rota tools declare {name} --changes --risk medium --tier auto\n"
        "(with --read-only for --changes if a call leaves everything as it was, --no-outside-text "
        "if its results hold\nno text of strangers, --stays-inside if the model does not choose "
        "where data goes)"
    )


def _input_names(graph: Any) -> Collection[str] | None:
    """Return the names of what a graph takes, none where it does not say, None for one text."""
    if isinstance(graph, CompiledStateGraph):
        return tuple(graph.builder.schemas[graph.builder.input_schema])
    describe: Any = getattr(graph, "get_input_jsonschema", dict)  # some other runnable has none
    try:
        schema = describe()
    except PydanticUserError:  # of a `typing.TypedDict`, before Python 3.12
        kind = graph.InputType
        return tuple(get_type_hints(kind)) if isinstance(kind, type) else ()
    return None if schema.get("type") == "string" else tuple(schema.get("properties", ()))
