SELECT rota.prune_audit(%(chain_id)s, %(through_seq)s, %(row_count)s,
                        (%(pruned_at)s || 'Z')::timestamptz, %(key_id)s, %(signature)s)
