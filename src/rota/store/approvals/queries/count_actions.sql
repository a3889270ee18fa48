-- How many list_actions finds on all pages.
SELECT count(*)
FROM public.pending_actions AS p
WHERE p.user_id = ANY (ARRAY(
        SELECT auth.uid()
        UNION
        SELECT d.user_id FROM public.approval_deputies AS d WHERE d.deputy_id = auth.uid()))
  AND p.status = ANY (%(statuses)s::text[])
  AND (%(agent_name)s::text IS NULL OR p.agent_name = %(agent_name)s)
  AND (%(tool_name)s::text IS NULL OR p.tool_name = %(tool_name)s)
  AND (%(risks)s::text[] IS NULL OR p.risk = ANY (%(risks)s))
