-- The breaker: while a service refuses or fails, no process pays or waits to hear it again.

-- A row exists from a service's first failure to its next success. Providers go by their own name, one model of a
-- provider by `<provider>/<model>`, the stores of buckets by `storage:<bucket>`.
create table copperplate.breakers (
    name text not null,
    -- Failures in a row that speak of the service, none more than ten minutes after the one before; from an opening on
    -- those of later tries.
    failures integer not null default 0,
    -- The generations they belong to, by key; none of a late failure while it rests.
    keys text[] not null default '{}',
    last_failed_at timestamptz not null,
    -- How often it opened in this row of failures; each rest is twice the one before.
    openings integer not null default 0,
    -- Null while closed. Once this has passed, one caller at a time may try.
    open_until timestamptz,
    -- The lease of the caller that is trying.
    probe_until timestamptz,
    -- The class of the failure that opened it: what refused callers are told. Null while closed.
    error_class text,
    -- What the service itself said where it refused us: no secret, no prompt.
    reason text not null default '',
    constraint breakers_pkey primary key (name),
    constraint breakers_counts_are_not_negative check (failures >= 0 and openings >= 0),
    constraint breakers_open_was_opened check (
        (open_until is null) = (openings = 0) and (open_until is null) = (error_class is null)
    ),
    constraint breakers_error_class_is_known check (
        error_class in (
            'rate_limited', 'transient', 'ambiguous', 'bad_output', 'invalid', 'account', 'store', 'uncollected'
        )
    ),
    constraint breakers_reason_is_short check (length(reason) <= 500)
);

comment on table copperplate.breakers is
'One row per service, a provider or the store of a bucket, that failed since it last did what it was asked.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column copperplate.breakers.name is
'A provider''s name, that with / and a model, or storage: and the bucket.';

alter table copperplate.breakers enable row level security;
revoke all on table copperplate.breakers from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.breakers to service_role;

create function copperplate.services_of(p_provider text, p_kind text, p_model text)
returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return array[
        p_provider,
        p_provider || '/' || p_model,
        (select 'storage:' || k.bucket from copperplate.kinds as k where k.name = p_kind)
    ];
end;
$$;

comment on function copperplate.services_of(text, text, text) is
'What a submit needs, by the names of their breakers: the provider, its model, the store.';
revoke all on function copperplate.services_of(text, text, text) from public, anon, authenticated;
grant execute on function copperplate.services_of(text, text, text) to service_role;

create function copperplate.longest_rest(p_names text[], out rest interval, out error_class text)
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    select
        greatest(b.open_until, b.probe_until, c.now) - c.now,
        -- Many prompts in a row that are not accepted: the settings are at fault, not the next prompt.
        -- Who is refused had no answer and has no job: nothing is certain but that the service fails.
        case
            when b.error_class = 'invalid' then 'account'
            when b.error_class in ('ambiguous', 'bad_output', 'uncollected') then 'transient'
            else b.error_class
        end
    into rest, error_class
    from copperplate.breakers as b
    cross join (select copperplate.clock() as now) as c
    where b.name = any (p_names) and b.open_until is not null
    order by 1 desc
    limit 1;
end;
$$;

comment on function copperplate.longest_rest(text[]) is
'How long these services may not be asked, and the class of the failure that says so; zero where one caller may try;
nulls while every breaker is closed.';
revoke all on function copperplate.longest_rest(text[]) from public, anon, authenticated;
grant execute on function copperplate.longest_rest(text[]) to service_role;

create function copperplate.take_probes(p_names text[], p_lease interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- By name: the one lock order of breakers.
    perform from copperplate.breakers as b where b.name = any (p_names) order by b.name for update;
    update copperplate.breakers as b
    set probe_until = v_now + p_lease
    where b.name = any (p_names) and b.open_until <= v_now and (b.probe_until is null or b.probe_until <= v_now);
    return not exists (
        select from copperplate.breakers as b
        where
            b.name = any (p_names)
            and b.open_until is not null
            and b.probe_until is distinct from v_now + p_lease
    );
end;
$$;

comment on function copperplate.take_probes(text[], interval) is
'Become the one caller that tries those services whose rest is over, for the length of its lease. False where another
caller tries one, or where one rests again: what was taken is to be rolled back.';
revoke all on function copperplate.take_probes(text[], interval) from public, anon, authenticated;
grant execute on function copperplate.take_probes(text[], interval) to service_role;

create function copperplate.release_probes(p_names text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    -- Looking is cheaper than locking nothing.
    if not exists (select from copperplate.breakers as b where b.name = any (p_names) and b.probe_until is not null) then
        return;
    end if;
    -- All of them, by name: one that is not tried now is about to be written by note_failure.
    update copperplate.breakers as b
    set probe_until = null
    where b.probe_until is not null and b.name in (
        select p.name
        from copperplate.breakers as p
        where p.name = any (p_names)
        order by p.name
        for update
    );
end;
$$;

comment on function copperplate.release_probes(text[]) is 'The caller that tried is done: the next one may try.';
revoke all on function copperplate.release_probes(text[]) from public, anon, authenticated;
grant execute on function copperplate.release_probes(text[]) to service_role;
