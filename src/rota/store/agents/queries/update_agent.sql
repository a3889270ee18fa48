-- Unlike an upsert this lets a person keep the script that the operator wrote.
UPDATE public.agent_configurations
SET description = %(description)s, model = %(model)s, model_settings = %(model_settings)s,
    system_prompt = %(system_prompt)s, script = %(script)s, max_steps = %(max_steps)s,
    fallback_models = %(fallback_models)s, limits = %(limits)s,
    max_concurrency = %(max_concurrency)s, is_active = true
WHERE user_id = %(user_id)s AND agent_name = %(agent_name)s
RETURNING id
