COMMENT ON FUNCTION public.decide_action(uuid, text, integer, text, text) IS
    'Decides on a pending action as the person who calls it, also through PostgREST. So it tells the '
    'owner itself where a deputy decided: nothing of rota''s may be running. It is the only insert of '
    'notifications beside NotificationService; a test finds any other.';
