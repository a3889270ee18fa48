SELECT chain_id, through_seq, hash, row_count,
       to_jsonb(sealed_at AT TIME ZONE 'UTC') #>> '{}' AS sealed_at,
       to_jsonb(pruned_at AT TIME ZONE 'UTC') #>> '{}' AS pruned_at, key_id, signature
FROM public.audit_checkpoints
