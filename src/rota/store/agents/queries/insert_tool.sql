-- Of a new tool holds what the table says of one that nobody knows.
INSERT INTO public.tools (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING
