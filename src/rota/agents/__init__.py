"""Agents by LangChain: graph, journal, models, the scripted model, tools, own code."""
