-- What there is of a person's identity, without hashes: a table's name, and its rows as JSON.
SELECT x.name, coalesce(json_agg(x.entry ORDER BY x.at) FILTER (WHERE x.entry IS NOT NULL), '[]')::text AS rows
FROM (
    SELECT 'api_tokens' AS name, t.created_at AS at,
           json_build_object('id', t.id, 'name', t.name, 'scopes', t.scopes,
                             'created_at', t.created_at, 'expires_at', t.expires_at,
                             'last_used_at', t.last_used_at) AS entry
    FROM rota.api_tokens AS t WHERE t.user_id = %(user_id)s
    UNION ALL
    SELECT 'sessions', s.created_at,
           json_build_object('id', s.id, 'signed_in_by', s.signed_in_by, 'user_agent', s.user_agent,
                             'created_at', s.created_at, 'last_seen_at', s.last_seen_at,
                             'idle_ends_at', s.idle_ends_at, 'ends_at', s.ends_at)
    FROM rota.sessions AS s WHERE s.user_id = %(user_id)s
    UNION ALL
    SELECT 'identities', i.created_at,
           json_build_object('issuer', i.issuer, 'subject', i.subject, 'origin', i.origin,
                             'created_at', i.created_at)
    FROM rota.identities AS i WHERE i.user_id = %(user_id)s
    UNION ALL
    SELECT unnest(ARRAY['api_tokens', 'sessions', 'identities']), NULL, NULL
) AS x
GROUP BY x.name
ORDER BY x.name
