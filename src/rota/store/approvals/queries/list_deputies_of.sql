SELECT user_id, deputy_id, user_name, deputy_name FROM public.approval_deputies
WHERE user_id = ANY (%(user_ids)s::uuid[])
ORDER BY user_id, deputy_id
