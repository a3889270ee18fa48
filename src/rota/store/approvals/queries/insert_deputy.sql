INSERT INTO public.approval_deputies (user_id, deputy_id, user_name, deputy_name)
VALUES (%(user_id)s, %(deputy_id)s, %(user_name)s, %(deputy_name)s)
ON CONFLICT (user_id, deputy_id)
DO UPDATE SET user_name = excluded.user_name, deputy_name = excluded.deputy_name
RETURNING xmax = 0 AS is_new
