-- The breaker: while a provider fails and fails, nobody pays to hear it again.

-- A row exists from a provider's first failure to its next completed picture.
create table copperplate.breakers (
    provider text not null,
    -- Failures in a row that speak of the provider, none more than ten minutes after the one before.
    failures integer not null,
    last_failed_at timestamptz not null,
    -- How often it opened since the last completion; each rest is twice the one before.
    openings integer not null default 0,
    -- Null while closed. Once this has passed, one caller at a time may try.
    open_until timestamptz,
    -- The lease of the caller that is trying.
    probe_until timestamptz,
    constraint breakers_pkey primary key (provider),
    constraint breakers_counts_are_not_negative check (failures >= 0 and openings >= 0),
    constraint breakers_open_was_opened check ((open_until is null) = (openings = 0))
);

comment on table copperplate.breakers is
'One row per provider that failed since it last made a picture.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.breakers enable row level security;
revoke all on table copperplate.breakers from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.breakers to service_role;

create function copperplate.breaker_rest(p_provider text)
returns interval
language sql
volatile
security invoker
set search_path = ''
as $$
    select greatest(b.open_until, b.probe_until, c.now) - c.now
    from copperplate.breakers as b
    cross join (select copperplate.clock() as now) as c
    where b.provider = p_provider and b.open_until is not null;
$$;

comment on function copperplate.breaker_rest(text) is
'How long nobody may ask this provider; zero where one may try; null while the breaker is closed.';

create function copperplate.take_probe(p_provider text, p_lease interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    update copperplate.breakers as b
    set probe_until = v_now + p_lease
    where b.provider = p_provider and b.open_until <= v_now and (b.probe_until is null or b.probe_until <= v_now);
    -- Closed meanwhile: nobody needs to try.
    return found or not exists (select from copperplate.breakers as b where b.provider = p_provider);
end;
$$;

comment on function copperplate.take_probe(text, interval) is
'Become the one caller that tries a provider whose rest is over, for the length of its lease.';

create function copperplate.note_provider_failure(p_provider text, p_error_class text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    if p_error_class not in ('transient', 'ambiguous', 'rate_limited') then
        -- It speaks of the prompt or of one picture. The next caller may try.
        update copperplate.breakers as b set probe_until = null
        where b.provider = p_provider and b.probe_until is not null;
        return;
    end if;

    insert into copperplate.breakers as b (provider, failures, last_failed_at)
    values (p_provider, 1, v_now)
    on conflict (provider) do update
    set
        failures = case when b.last_failed_at < v_now - interval '10 minutes' then 1 else b.failures + 1 end,
        last_failed_at = v_now,
        probe_until = null;

    -- Whoever was let in before it opened changes nothing by failing late.
    update copperplate.breakers as b
    set
        openings = b.openings + 1,
        open_until = v_now + least(interval '30 seconds' * power(2, least(b.openings, 10)), interval '2 minutes')
    where
        b.provider = p_provider
        and ((b.open_until is null and b.failures >= 5) or b.open_until <= v_now);
end;
$$;

comment on function copperplate.note_provider_failure(text, text) is
'Count a failure: five in a row open the breaker for 30 s, a failed try for twice as long as before, at most 2 min.';

create function copperplate.note_provider_success(p_provider text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    delete from copperplate.breakers as b where b.provider = p_provider;
$$;

comment on function copperplate.note_provider_success(text) is 'A picture was made: the breaker closes.';

revoke all on function copperplate.breaker_rest(text) from public, anon, authenticated;
revoke all on function copperplate.take_probe(text, interval) from public, anon, authenticated;
revoke all on function copperplate.note_provider_failure(text, text) from public, anon, authenticated;
revoke all on function copperplate.note_provider_success(text) from public, anon, authenticated;
grant execute on function copperplate.breaker_rest(text) to service_role;
grant execute on function copperplate.take_probe(text, interval) to service_role;
grant execute on function copperplate.note_provider_failure(text, text) to service_role;
grant execute on function copperplate.note_provider_success(text) to service_role;
