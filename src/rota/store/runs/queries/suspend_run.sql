-- A decision takes the same lock first, so either this or the decision sees the other's change.
UPDATE public.agent_runs SET status = 'suspended', hand_overs = hand_overs + 1
WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
RETURNING id
