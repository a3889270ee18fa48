DELETE FROM public.user_tool_preferences WHERE user_id = %(user_id)s AND tool_id = %(tool_id)s
