DELETE FROM public.approval_deputies
WHERE user_id = %(user_id)s AND deputy_id = %(deputy_id)s
RETURNING deputy_id
