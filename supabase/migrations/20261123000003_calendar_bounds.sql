-- A person may write these past rota; no value of theirs may stop a scheduler in its work. Python's
-- dates are those of the years 1 to 9999.

UPDATE public.calendar_days SET
    first_day = greatest(least(first_day, '9999-12-31'), '0001-01-01'),
    last_day = greatest(least(last_day, '9999-12-31'), '0001-01-01'),
    summary = left(summary, 200)
WHERE first_day < '0001-01-01' OR last_day > '9999-12-31' OR length(summary) > 200;
UPDATE public.calendars SET
    covers_until = greatest(least(covers_until, '9999-12-31'), '0001-01-01'),
    source = left(source, 200)
WHERE covers_until NOT BETWEEN '0001-01-01' AND '9999-12-31' OR length(source) > 200;

ALTER TABLE public.calendar_days
    ADD CHECK (first_day >= '0001-01-01' AND last_day <= '9999-12-31'),
    ADD CHECK (length(summary) <= 200);
ALTER TABLE public.calendars
    ADD CHECK (covers_until BETWEEN '0001-01-01' AND '9999-12-31'),
    ADD CHECK (length(source) <= 200);
