-- Lists by pages: newest first, each page found by where the page before it ended.

-- Requests: those of a status are mostly asked for, so each status is a list of its own.
CREATE INDEX pending_actions_pages_idx
    ON public.pending_actions (user_id, status, created_at DESC, id DESC);
DROP INDEX public.pending_actions_user_idx;

CREATE INDEX notifications_pages_idx ON public.notifications (user_id, created_at DESC, id DESC);
DROP INDEX public.notifications_user_idx;
CREATE INDEX notifications_unread_pages_idx
    ON public.notifications (user_id, created_at DESC, id DESC) WHERE read_at IS NULL;
DROP INDEX public.notifications_unread_idx;
