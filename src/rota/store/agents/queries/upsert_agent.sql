INSERT INTO public.agent_configurations
    (user_id, agent_name, description, model, model_settings, system_prompt, script, max_steps,
     fallback_models, limits, max_concurrency, is_active)
VALUES (%(user_id)s, %(agent_name)s, %(description)s, %(model)s, %(model_settings)s,
        %(system_prompt)s, %(script)s, %(max_steps)s,
        %(fallback_models)s, %(limits)s, %(max_concurrency)s, true)
ON CONFLICT (user_id, agent_name) DO UPDATE
SET description = excluded.description, model = excluded.model,
    model_settings = excluded.model_settings, system_prompt = excluded.system_prompt,
    script = excluded.script, max_steps = excluded.max_steps,
    fallback_models = excluded.fallback_models, limits = excluded.limits,
    max_concurrency = excluded.max_concurrency,
    is_active = excluded.is_active
RETURNING id, xmax = 0 AS is_new
