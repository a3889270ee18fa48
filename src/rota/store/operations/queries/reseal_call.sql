UPDATE public.pending_actions
SET sealed_arguments = %(resealed)s
WHERE id = %(id)s AND sealed_arguments = %(sealed)s
