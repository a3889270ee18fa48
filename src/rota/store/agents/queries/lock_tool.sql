-- An agent that gets the tool meanwhile waits for this lock, and then finds no tool.
SELECT id FROM public.tools WHERE name = %(name)s FOR UPDATE
