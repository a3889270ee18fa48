"""YAML as rota reads and writes it: strict, without aliases, and with texts as blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from rota.domain.errors import InvalidInputError
from rota.services.text_files import yaml_problem


def load_yaml(text: str, *, source: str) -> Any:
    """Return what a text says; raises InvalidInputError that names the source and the line."""
    try:
        return yaml.load(text, Loader=_OnceLoader)  # noqa: S506  it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInputError(f"{source}:{line}: {yaml_problem(error)}", line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{source}: this is not YAML: {error}") from error


def dump_yaml(*documents: object) -> str:
    """Return YAML documents; texts of several lines as such, and what is equal written twice."""
    written: str = yaml.dump_all(
        [dict(one) if isinstance(one, Mapping) else one for one in documents],
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        explicit_start=len(documents) > 1,
    )
    return written


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines in blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  what is equal is written twice
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


class _OnceLoader(yaml.SafeLoader):
    """Reads YAML, and refuses duplicate keys, aliases and merge keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: a few lines of them grow to millions of values."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types
            raise yaml.composer.ComposerError(
                None, None, "write it out instead of `*`", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  as PyYAML has it
        """Refuse a name that appears twice: whoever reads the file may see the other one."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen or key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value!r} appears twice", key_node.start_mark
                )
            seen.add(str(key_node.value))
        return super().construct_mapping(node, deep)
