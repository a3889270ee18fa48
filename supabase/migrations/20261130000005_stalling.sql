-- What one session holds stops nobody else: locks are rows that only the backend reaches, and nothing
-- of ours announces into a NOTIFY queue that fills.

-- What one process does at a time. Rows, not advisory locks: those anybody may take who can connect.
CREATE TABLE rota.locks (name text PRIMARY KEY);
INSERT INTO rota.locks (name) VALUES ('admission'), ('audit_pruning'), ('audit_sealing');
SELECT rota.keep_to_backend('rota.locks');
REVOKE INSERT, DELETE ON rota.locks FROM service_role; -- UPDATE: to lock its rows

-- A session that listens and stays in a transaction keeps every notification, for all databases of the
-- server; once the queue is full, each transaction that notifies fails as it commits. From half on nothing
-- of ours announces: schedulers and workers poll.
CREATE OR REPLACE FUNCTION rota.announce() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('rota_wake', TG_ARGV[0]);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION rota.announce_ended() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_notification_queue_usage() >= 0.5 THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM public.agent_runs
               WHERE schedule_id = NEW.schedule_id AND status = 'waiting')
       OR (NEW.queued_at IS NOT NULL
           AND (EXISTS (SELECT FROM rota.limits WHERE max_concurrency IS NOT NULL)
                OR EXISTS (SELECT FROM public.agent_configurations
                           WHERE agent_name = NEW.agent_name AND max_concurrency IS NOT NULL
                             AND is_active AND user_id IS NULL))
           AND EXISTS (SELECT FROM public.agent_runs WHERE status = 'waiting'))
       OR (NEW.queued_at IS NOT NULL
           AND (EXISTS (SELECT FROM public.user_limits
                        WHERE max_concurrency IS NOT NULL
                          AND (user_id = NEW.user_id OR user_id IS NULL))
                OR EXISTS (SELECT FROM public.agent_configurations
                           WHERE agent_name = NEW.agent_name AND max_concurrency IS NOT NULL
                             AND is_active AND user_id = NEW.user_id))
           AND EXISTS (SELECT FROM public.agent_runs
                       WHERE user_id = NEW.user_id AND status = 'waiting'))
    THEN
        PERFORM pg_notify('rota_wake', 'runs');
    END IF;
    RETURN NULL;
END
$$;

-- PgQueuer's function stays as it is.
CREATE OR REPLACE TRIGGER tg_pgqueuer_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON rota.pgqueuer
    FOR EACH STATEMENT WHEN (pg_catalog.pg_notification_queue_usage() < 0.5)
    EXECUTE FUNCTION rota.fn_pgqueuer_changed();
