"""Executes agents with LangChain: graph, journal, models, tools, and the operator's code."""
