-- A new tool gets the defaults of the table, which are those of an unknown tool.
INSERT INTO public.tools (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING
