SELECT user_id, deputy_id, user_name, deputy_name FROM public.approval_deputies
ORDER BY user_name, deputy_name
