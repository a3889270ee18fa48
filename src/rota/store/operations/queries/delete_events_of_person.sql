-- They have no foreign key. After the person: what is deleted with them writes events, too.
DELETE FROM public.person_events WHERE user_id = %(user_id)s
