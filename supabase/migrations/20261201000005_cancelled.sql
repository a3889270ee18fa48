-- A run that is cancelled while it runs ends as cancelled, with what it has so far as its result.
-- Which other steps a run takes stays as it was (domain/runs/run.py).
DROP TRIGGER refuse_transition ON public.agent_runs;
CREATE TRIGGER refuse_transition BEFORE UPDATE OF status ON public.agent_runs
    FOR EACH ROW
    WHEN (NOT CASE OLD.status
              WHEN 'waiting' THEN NEW.status IN ('waiting', 'queued', 'running', 'cancelled')
              WHEN 'queued' THEN NEW.status IN ('queued', 'waiting', 'running', 'cancelled')
              WHEN 'running' THEN NEW.status IN ('running', 'suspended', 'finished', 'cancelled')
              WHEN 'suspended' THEN NEW.status IN ('suspended', 'waiting')
              ELSE NEW.status = OLD.status
              END)
    EXECUTE FUNCTION rota.refuse_transition();
