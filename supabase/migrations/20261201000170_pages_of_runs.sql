-- Lists of results by agent or by status, the words of answers, and the calls without a price, are
-- found without reading all of them.

CREATE INDEX agent_execution_results_agent_idx ON public.agent_execution_results
    (user_id, agent_name, created_at DESC);
CREATE INDEX agent_execution_results_unsuccessful_idx ON public.agent_execution_results
    (user_id, created_at DESC) WHERE status <> 'success';

-- Whose it is is a word too, of a form that no text has, so that others' answers are not read.
CREATE INDEX agent_execution_results_words_idx ON public.agent_execution_results
    USING gin ((array_to_tsvector(ARRAY[E'\x01' || user_id::text])
                || to_tsvector('pg_catalog.simple'::regconfig, result_content)));

CREATE INDEX agent_run_steps_unpriced_idx ON public.agent_run_steps (user_id, started_at)
    WHERE call_index = -1 AND usage IS NOT NULL AND cost_usd IS NULL;

-- The caller's results with all of these words, or words that begin so, newest first. Row-level
-- security would have each row looked at: what compares words may not run ahead of its check.
CREATE FUNCTION public.search_results(
    words text,
    agent_name text DEFAULT NULL,
    schedule_id uuid DEFAULT NULL,
    status text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    before timestamptz DEFAULT 'infinity',
    before_id uuid DEFAULT 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    most integer DEFAULT 100
) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    caller uuid := auth.uid();
    wanted tsquery;
BEGIN
    IF caller IS NULL THEN
        RAISE EXCEPTION 'sign in first' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- A word itself is looked for beside what begins so, as only of words it is known how often
    -- they are there.
    SELECT string_agg('(' || w.quoted || ' | ' || w.quoted || ':*)', ' & ')::tsquery INTO wanted
    FROM (SELECT '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''' AS quoted
          FROM unnest(to_tsvector('pg_catalog.simple', left(search_results.words, 1000)))
          LIMIT 20) AS w;
    IF wanted IS NULL THEN
        RETURN;
    END IF;
    wanted := ('''' || E'\x01' || caller::text || '''')::tsquery && wanted;
    -- By EXECUTE it is planned for these words: common ones are soon met, rare ones are looked up.
    RETURN QUERY EXECUTE
        $query$
        SELECT r.id FROM public.agent_execution_results AS r
        WHERE r.user_id = $1
          AND (array_to_tsvector(ARRAY[E'\x01' || r.user_id::text])
               || to_tsvector('pg_catalog.simple'::regconfig, r.result_content)) @@ $2
          AND ($3 IS NULL OR r.agent_name = $3)
          AND ($4 IS NULL OR r.schedule_id = $4)
          AND ($5 IS NULL OR r.status = $5)
          AND ($6 IS NULL OR r.created_at >= $6)
          AND (r.created_at, r.id) < ($7, $8)
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT $9
        $query$
    USING caller, wanted, agent_name, schedule_id, status, since, before, before_id,
          least(greatest(most, 0), 1000);
END
$$;
REVOKE ALL ON FUNCTION public.search_results FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION public.search_results TO authenticated;
COMMENT ON FUNCTION public.search_results IS
    'Ids of the caller''s results with all of these words, or words that begin so, newest first';
