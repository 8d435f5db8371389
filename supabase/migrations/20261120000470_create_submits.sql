-- The book: what was spent, and what was saved. One row per billable request, written before it is sent and kept for
-- good. Money in millionths of a dollar. A row counts with what the provider reported, and until that is known, or
-- where its answer was lost, with what was estimated: that is its price. Saved is the price of a picture, once for each
-- time it was served without a call. Every figure of money, by whatever route, is a sum over this table.
create table copperplate.submits (
    id bigint generated always as identity,
    -- Stays when the generation goes.
    generation_key text not null,
    kind text not null,
    provider text not null,
    model text not null,
    sent_at timestamptz not null,
    -- By the price table, before; null where the model has no price there.
    estimate_micro_usd bigint,
    -- From what the provider reported; zero where it is known not to bill; null where nothing is known.
    cost_micro_usd bigint,
    -- What its budgets were charged before it was sent, until the bill is known. Null where nothing was booked, or it
    -- was given back with its picture: then the budgets count nothing.
    booked_micro_usd bigint,
    -- By the names that budgets are stored under; the day is that of sent_at.
    budgets text[] not null default '{}',
    -- How often the picture it made was served without a call: hits, stale answers, coalesced ones.
    saved bigint not null default 0,
    constraint submits_pkey primary key (id),
    constraint submits_money_is_not_negative check (
        estimate_micro_usd >= 0 and cost_micro_usd >= 0 and booked_micro_usd >= 0 and saved >= 0
    )
) with (fillfactor = 70);

create index submits_generation_idx on copperplate.submits (generation_key, id);

comment on table copperplate.submits is
'Billable requests to providers, one row each, and what they cost in millionths of a dollar.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column copperplate.submits.cost_micro_usd is
'From what the provider reported; zero where it does not bill; null where that is not known: then the estimate counts.';

alter table copperplate.submits enable row level security;
revoke all on table copperplate.submits from public, anon, authenticated, service_role;
grant select, insert, update on table copperplate.submits to service_role;

create function copperplate.note_cost(
    p_generation_key text, p_cost_micro_usd bigint, p_is_free boolean default false, p_reserved jsonb default null
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v record;
    v_changes copperplate.budget_change [] := copperplate.reserved_changes(p_reserved);
begin
    -- The triggers run for an update of no row, too.
    if p_cost_micro_usd is not null then
        -- Read once: a plan that looks for the newest again would pass over the one it locked, and bill one before it.
        with newest as materialized (
            select n.id, n.booked_micro_usd, case when n.booked_micro_usd is not null then n.cost_micro_usd end as cost_micro_usd
            from copperplate.submits as n
            where n.generation_key = p_generation_key
            order by n.id desc
            limit 1
            for no key update
        )

        update copperplate.submits as s
        set
            cost_micro_usd = p_cost_micro_usd,
            booked_micro_usd = case
                when p_is_free then null
                when s.budgets <> '{}' then coalesce(s.booked_micro_usd, p_cost_micro_usd)
            end
        from newest as o
        where s.id = o.id
        returning
            s.budgets, (s.sent_at at time zone 'UTC')::date as day,
            coalesce(s.cost_micro_usd, 0) - coalesce(o.cost_micro_usd, o.booked_micro_usd, 0) as micro_usd,
            (s.booked_micro_usd is not null)::integer - (o.booked_micro_usd is not null)::integer as pictures
        into v;
        -- A bill is a fact: it is counted where it does not fit as well, and then there is no room until that is made up.
        if v.budgets <> '{}' and (v.micro_usd, v.pictures) <> (0, 0) then
            v_changes := v_changes || array(
                select row(
                    n.name, copperplate.budget_day(n.name, v.day), v.micro_usd, v.pictures, null, null, false
                )::copperplate.budget_change
                from unnest(v.budgets) as n (name)
            );
        end if;
    end if;
    if v_changes <> '{}' then
        perform copperplate.change_budgets(v_changes);
    end if;
end;
$$;

comment on function copperplate.note_cost(text, bigint, boolean, jsonb) is
'What the newest submit of a generation cost, null where nothing is known; one that is free is given back with its
picture. Its budgets are corrected, and p_reserved, taken off the generation, is given back with that.';
revoke all on function copperplate.note_cost(text, bigint, boolean, jsonb) from public, anon, authenticated;
grant execute on function copperplate.note_cost(text, bigint, boolean, jsonb) to service_role;

create function copperplate.spent_micro_usd(p_generation_key text)
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    select sum(coalesce(s.cost_micro_usd, s.estimate_micro_usd))::bigint
    from public.generation_status as g
    inner join copperplate.submits as s on g.prompt_hash = s.generation_key and g.created_at <= s.sent_at
    where g.prompt_hash = p_generation_key;
$$;

comment on function copperplate.spent_micro_usd(text) is
'What a generation cost since its row was made, all submits of it; null where no price is known.';
revoke all on function copperplate.spent_micro_usd(text) from public, anon, authenticated;
grant execute on function copperplate.spent_micro_usd(text) to service_role;
