-- Budgets: limits of what may be spent, in money and in pictures, each with its counter. Money in millionths of a
-- dollar.
--
-- all                      everything that costs something
-- anonymous                callers nobody knows
-- address:<digest>         one address; SQL keeps a digest with a salt of the day, never the address
-- user:<id>  key:<id>  link:<key id>          one signed-in user, one API key, one key that signs URLs
-- provider:<name>  model:<provider>/<model>   what is asked for
-- prepaid/<any of these>   a cap beside the daily one that nothing resets
--
-- An election reserves the caller's own budgets, a submit books these and the house's: model, provider, all. What is
-- counted is the sum of bookings and reservations; audit_budgets compares them.

-- What an operator set. A program sends its own caps with every election; a value here stands above it.
create table copperplate.budgets (
    name text not null,
    -- Null: not set.
    cap_micro_usd bigint,
    cap_pictures bigint,
    -- Stand instead until then.
    override_micro_usd bigint,
    override_pictures bigint,
    override_until timestamptz,
    updated_at timestamptz not null,
    constraint budgets_pkey primary key (name),
    constraint budgets_caps_are_in_range check (
        cap_micro_usd between 0 and 1000000000000000 and cap_pictures between 0 and 1000000000000000
        and override_micro_usd between 0 and 1000000000000000 and override_pictures between 0 and 1000000000000000
    ),
    constraint budgets_override_has_end check (
        (override_until is null) = (override_micro_usd is null and override_pictures is null)
    )
);

comment on table copperplate.budgets is
'Caps an operator set, by budget: of money in millionths of a dollar, and of pictures, a day (UTC); null is not set.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.budgets enable row level security;
revoke all on table copperplate.budgets from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.budgets to service_role;

-- The counter of a budget and day, split into stripes so that elections do not wait for each other's commit. A stripe
-- may spend what is allowed to it. All that is allowed to the stripes of a day is never more than the cap, or where
-- bills exceeded it, than what was spent.
create table copperplate.budget_usage (
    budget text not null,
    -- UTC; -infinity for what nothing resets.
    day date not null,
    stripe integer not null,
    -- One stripe may go below zero where a bill was lower than its booking: only the sum has a meaning.
    spent_micro_usd bigint not null default 0,
    pictures bigint not null default 0,
    -- Null: no cap.
    allowed_micro_usd bigint,
    allowed_pictures bigint,
    -- The limits that were shared out, resets included.
    limit_micro_usd bigint,
    limit_pictures bigint,
    constraint budget_usage_pkey primary key (budget, day, stripe)
) with (fillfactor = 50);

-- For the list of a day, and for what is old. No update changes a day, so counting stays within its page.
create index budget_usage_day_idx on copperplate.budget_usage (day);
create index budget_usage_address_idx on copperplate.budget_usage (day) where budget like 'address:%';
create index budget_usage_stripe_idx on copperplate.budget_usage (day) where stripe > 0;

comment on table copperplate.budget_usage is
'What of each budget was used on each day (UTC): the sums over its stripes, reservations included. Money in millionths
of a dollar. Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.budget_usage enable row level security;
revoke all on table copperplate.budget_usage from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.budget_usage to service_role;

-- A reset by hand raises the limit of its day by what was settled: counters stay equal to what was booked.
create table copperplate.budget_resets (
    budget text not null,
    day date not null,
    micro_usd bigint not null,
    pictures bigint not null,
    constraint budget_resets_pkey primary key (budget, day)
);

comment on table copperplate.budget_resets is
'By how much a reset raised the limits of a budget on a day. Row-level security is on without a policy: only
service_role and the owner see rows.';

alter table copperplate.budget_resets enable row level security;
revoke all on table copperplate.budget_resets from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.budget_resets to service_role;

-- Without it a digest could be tried against every address there is; once it is removed, nobody can.
create table copperplate.address_salts (
    day date not null,
    -- Two random ids are 244 random bits.
    salt bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    constraint address_salts_pkey primary key (day)
);

comment on table copperplate.address_salts is
'Random salts of the digests that stand for addresses, one a day (UTC), made when first needed and removed a day later.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.address_salts enable row level security;
revoke all on table copperplate.address_salts from public, anon, authenticated, service_role;
grant select, insert, delete on table copperplate.address_salts to service_role;

create function copperplate.make_salts(p_day date)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Of tomorrow as well: at midnight nobody is to wait for whoever comes first.
    if (select count(*) from copperplate.address_salts as s where s.day in (p_day, p_day + 1)) < 2 then
        insert into copperplate.address_salts (day) values (p_day), (p_day + 1) on conflict (day) do nothing;
    end if;
end;
$$;

comment on function copperplate.make_salts(date) is 'Makes the salts of this day and the next, where there are none.';
revoke all on function copperplate.make_salts(date) from public, anon, authenticated;
grant execute on function copperplate.make_salts(date) to service_role;

-- Locks are taken in this order, older days first, and after them what nothing resets. The name as sent or as stored:
-- only its kind matters.
create function copperplate.budget_rank(p_name text)
returns integer
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case split_part(case when p_name like 'prepaid/%' then substr(p_name, 9) else p_name end, ':', 1)
        when 'user' then 1
        when 'address' then 2
        when 'key' then 3
        when 'link' then 3
        when 'anonymous' then 4
        when 'model' then 5
        when 'provider' then 6
        else 7
    end;
end;
$$;

comment on function copperplate.budget_rank(text) is
'The place of a budget in the order of locks: the caller''s own first, everything last.';
revoke all on function copperplate.budget_rank(text) from public, anon, authenticated;
grant execute on function copperplate.budget_rank(text) to service_role;

create function copperplate.budget_day(p_name text, p_day date)
returns date
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case when p_name like 'prepaid/%' then '-infinity' else p_day end;
end;
$$;

comment on function copperplate.budget_day(text, date) is
'The day under which a budget counts what is spent on p_day: -infinity where nothing resets it.';
revoke all on function copperplate.budget_day(text, date) from public, anon, authenticated;
grant execute on function copperplate.budget_day(text, date) to service_role;
