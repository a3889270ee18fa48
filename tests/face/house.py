"""What an operator of the tests registers: it imports nothing below `rota`."""

from langchain_core.tools import BaseTool, tool

from rota import RunContext, ToolContext

NOTES: list[str] = []


def note_writer(context: ToolContext) -> BaseTool:
    @tool
    def write_note(text: str) -> str:
        """Append a line to the notes."""
        NOTES.append(f"{context.now():%Y-%m-%d} {text}")
        return "written"

    return write_note


async def tell_the_time(context: RunContext, prompt: str) -> str:
    return f"{prompt} {context.now:%Y-%m-%d %H:%M}"
