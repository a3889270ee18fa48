INSERT INTO public.user_tool_preferences (user_id, tool_id, preference)
VALUES (%(user_id)s, %(tool_id)s, %(preference)s)
ON CONFLICT (user_id, tool_id) DO UPDATE SET preference = excluded.preference
