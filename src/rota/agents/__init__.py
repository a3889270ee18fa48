"""LangChain agents built from rows: loader, model providers, journal, tools."""
