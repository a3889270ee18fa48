"""JSON schemas: the supported ones, and the cost of checking a value against one."""
