-- The lock that this takes is the one that a decision takes first: one of the two sees the other.
UPDATE public.agent_runs SET status = 'suspended', hand_overs = hand_overs + 1
WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
RETURNING id
