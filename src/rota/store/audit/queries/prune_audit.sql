SELECT rota.prune_audit(%(chain_id)s, %(through_seq)s, %(rows_in_all)s,
                        (%(pruned_at)s || 'Z')::timestamptz, %(key_id)s, %(signature)s)
