-- Whoever migrates, and rota's own login role where there is one, may act as a person.
DO $$
DECLARE
    member text;
    request_role text;
BEGIN
    FOR member IN
        SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN (current_user, 'rota_backend')
    LOOP
        FOREACH request_role IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
            IF NOT pg_catalog.pg_has_role(member, request_role, 'MEMBER') THEN
                EXECUTE format('GRANT %I TO %I', request_role, member);
            END IF;
        END LOOP;
    END LOOP;
END
$$
