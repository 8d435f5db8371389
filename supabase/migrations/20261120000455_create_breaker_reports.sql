-- What is reported to the breakers: failures, successes, refusals.

create function copperplate.open_breaker(p_name text, p_error_class text, p_may_be_prompt boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- A caller that was let in before it opened changes nothing by failing late. A try whose prompt may be at fault says
    -- nothing of the service, unless it rests for just that, or five in a row come to it.
    update copperplate.breakers as b
    set
        failures = 0,
        openings = b.openings + 1,
        open_until = v_now + least(interval '30 seconds' * power(2, least(b.openings, 10)), interval '2 minutes'),
        error_class = p_error_class,
        -- These were the words of another failure.
        reason = case when b.error_class = p_error_class then b.reason else '' end
    where
        b.name = p_name
        and (b.open_until is null or b.open_until <= v_now)
        and (b.failures >= 5 or (b.open_until <= v_now and (not p_may_be_prompt or b.error_class = p_error_class)));
end;
$$;

comment on function copperplate.open_breaker(text, text, boolean) is
'Open this breaker where five failures are counted, or where the caller was the one that tried.';
revoke all on function copperplate.open_breaker(text, text, boolean) from public, anon, authenticated;
grant execute on function copperplate.open_breaker(text, text, boolean) to service_role;

create function copperplate.note_failure(p_name text, p_error_class text, p_generation_key text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    -- One picture that cannot be had says nothing of the service, however often it is asked for.
    v_may_be_prompt boolean := p_error_class in ('bad_output', 'invalid');
begin
    -- These speak of the prompt, were reported by report_refusal, or were counted when they were put off first. A job
    -- is asked for again and again: after the first time that says nothing new of the service.
    if
        p_error_class in ('moderated', 'account', 'lost')
        or (
            p_error_class = 'uncollected'
            and exists (select from copperplate.breakers as b where b.name = p_name and p_generation_key = any (b.keys))
        )
    then
        return;
    end if;

    insert into copperplate.breakers as b (name, failures, keys, last_failed_at)
    values (p_name, 1, array[p_generation_key], v_now)
    on conflict (name) do update
    set
        failures = case
            when b.last_failed_at < v_now - interval '10 minutes' then 1
            when b.open_until > v_now then b.failures
            when v_may_be_prompt and p_generation_key = any (b.keys) then b.failures
            else b.failures + 1
        end,
        keys = case
            when b.last_failed_at < v_now - interval '10 minutes' then array[p_generation_key]
            when p_generation_key = any (b.keys) then b.keys
            when b.open_until > v_now and p_error_class <> 'uncollected' then b.keys
            else b.keys || p_generation_key
        end,
        last_failed_at = v_now;

    perform copperplate.open_breaker(p_name, p_error_class, v_may_be_prompt);
end;
$$;

comment on function copperplate.note_failure(text, text, text) is
'Count a failure: five in a row open the breaker for 30 s, a failed try for twice as long as before, at most 2 min.
A try that ends in bad_output or invalid does so only where the breaker was opened by the same.
bad_output, invalid and uncollected count once a generation; moderated and lost never, and account opens by report_refusal.';
revoke all on function copperplate.note_failure(text, text, text) from public, anon, authenticated;
grant execute on function copperplate.note_failure(text, text, text) to service_role;

create function copperplate.note_success(p_names text[], p_asked_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    -- Looking is cheaper than locking nothing.
    if not exists (select from copperplate.breakers as b where b.name = any (p_names)) then
        return;
    end if;
    delete from copperplate.breakers as b
    where b.name in (
        select s.name
        from copperplate.breakers as s
        where s.name = any (p_names) and (s.error_class is distinct from 'account' or s.last_failed_at < p_asked_at)
        order by s.name
        for update
    );
end;
$$;

comment on function copperplate.note_success(text[], timestamptz) is
'These services did what they were asked at p_asked_at: their breakers close, unless our account was refused since.';
revoke all on function copperplate.note_success(text[], timestamptz) from public, anon, authenticated;
grant execute on function copperplate.note_success(text[], timestamptz) to service_role;

create function public.report_refusal(p_name text, p_error_class text, p_reason text, p_rest interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_is_known boolean;
begin
    insert into copperplate.breakers as b (name, last_failed_at) values (p_name, v_now)
    on conflict (name) do nothing;
    -- Locked before it is read, as the insert does not promise to: of many that report at once, one opens it.
    select b.open_until > v_now and b.error_class = p_error_class
    into v_is_known
    from copperplate.breakers as b
    where b.name = p_name
    for update;

    update copperplate.breakers as b
    set
        failures = 0,
        keys = '{}',
        last_failed_at = v_now,
        openings = 1,
        open_until = v_now + p_rest,
        probe_until = null,
        error_class = p_error_class,
        reason = left(p_reason, 500)
    where b.name = p_name;
    return found and not coalesce(v_is_known, false);
end;
$$;

comment on function public.report_refusal(text, text, text, interval) is
'A service refuses whatever it is asked, for the sake of our account or settings there: it rests for p_rest from now.
True for the report that begins the rest, so that one process tells the operator.';
revoke all on function public.report_refusal(text, text, text, interval) from public, anon, authenticated;
grant execute on function public.report_refusal(text, text, text, interval) to service_role;
