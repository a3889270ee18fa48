-- Takes over an action that an ended attempt began, if its tool may be called twice.
UPDATE public.pending_actions AS a SET executing_token = %(token)s
WHERE a.id = %(action_id)s AND a.status = 'running' AND a.executing_token < %(token)s
RETURNING rota.record_decision(
    a, 'approved', 'started', 'rota', 'worker',
    'begun again: the attempt before ended, and the tool may be called twice')
