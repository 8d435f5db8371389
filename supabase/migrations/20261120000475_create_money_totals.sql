-- Sums of the book for readers in a hurry. Its triggers alone write here, in the transaction that changes the book.
-- They only ever insert, so no row is hot; copperplate.fold_money() merges the rows of a day now and then.
create table copperplate.money_totals (
    -- UTC. Of spending, when the request was sent; of savings, when the picture was served.
    day date not null,
    kind text not null,
    provider text not null,
    model text not null,
    submits bigint not null default 0,
    -- Submits that count with their estimate; submits without any price, which are in no sum.
    estimated bigint not null default 0,
    unpriced bigint not null default 0,
    spent_micro_usd bigint not null default 0,
    -- Pictures served without a call; those of them whose price is not known, which are in no sum.
    saved bigint not null default 0,
    unpriced_saved bigint not null default 0,
    saved_micro_usd bigint not null default 0
);

comment on table copperplate.money_totals is
'Sums over copperplate.submits by day (UTC), kind, provider and model, to be added up by the reader. Money in millionths
of a dollar. Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.money_totals enable row level security;
revoke all on table copperplate.money_totals from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.money_totals to service_role;

create function copperplate.note_money(p_before copperplate.submits[], p_after copperplate.submits[])
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    with changed as (
        select a.*, 1 as times, coalesce(a.cost_micro_usd, a.estimate_micro_usd) as price from unnest(p_after) as a
        union all
        select b.*, -1 as times, coalesce(b.cost_micro_usd, b.estimate_micro_usd) as price from unnest(p_before) as b
    ),

    parts as (
        select
            (c.sent_at at time zone 'UTC')::date as day, c.kind, c.provider, c.model, c.times as submits,
            case when c.cost_micro_usd is null and c.price is not null then c.times else 0 end as estimated,
            case when c.price is null then c.times else 0 end as unpriced,
            c.times * coalesce(c.price, 0) as spent, 0 as saved, 0 as unpriced_saved, 0 as saved_micro_usd
        from changed as c
        union all
        select
            (copperplate.clock() at time zone 'UTC')::date as day, c.kind, c.provider, c.model, 0 as submits,
            0 as estimated, 0 as unpriced, 0 as spent, c.times * c.saved as saved,
            case when c.price is null then c.times * c.saved else 0 end as unpriced_saved,
            c.times * c.saved * coalesce(c.price, 0) as saved_micro_usd
        from changed as c
    ),

    sums as (
        select
            p.day, p.kind, p.provider, p.model, sum(p.submits) as submits, sum(p.estimated) as estimated,
            sum(p.unpriced) as unpriced, sum(p.spent) as spent, sum(p.saved) as saved,
            sum(p.unpriced_saved) as unpriced_saved, sum(p.saved_micro_usd) as saved_micro_usd
        from parts as p
        group by p.day, p.kind, p.provider, p.model
    )

    insert into copperplate.money_totals (
        day, kind, provider, model, submits, estimated, unpriced, spent_micro_usd, saved, unpriced_saved,
        saved_micro_usd
    )
    select
        s.day, s.kind, s.provider, s.model, s.submits, s.estimated, s.unpriced, s.spent, s.saved, s.unpriced_saved,
        s.saved_micro_usd
    from sums as s
    where 0 <> any(array[s.submits, s.estimated, s.unpriced, s.spent, s.saved, s.unpriced_saved, s.saved_micro_usd]);
$$;

comment on function copperplate.note_money(copperplate.submits[], copperplate.submits[]) is
'Add to the totals by how much these rows of the book differ from what they were.';
revoke all on function copperplate.note_money(copperplate.submits[], copperplate.submits[])
from public, anon, authenticated;
grant execute on function copperplate.note_money(copperplate.submits[], copperplate.submits[]) to service_role;

create function copperplate.note_submits_changed()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
declare
    v_before copperplate.submits[] := '{}';
    v_after copperplate.submits[] := '{}';
begin
    -- Each kind of change has only some of the two tables; a statement is planned when it is first run.
    if tg_op <> 'INSERT' then
        v_before := array(select row(r.*)::copperplate.submits from removed as r);
    end if;
    if tg_op <> 'DELETE' then
        v_after := array(select row(a.*)::copperplate.submits from added as a);
    end if;
    perform copperplate.note_money(v_before, v_after);
    return null;
end;
$$;

comment on function copperplate.note_submits_changed() is 'Keeps the totals of money equal to the book.';
revoke all on function copperplate.note_submits_changed() from public, anon, authenticated;
grant execute on function copperplate.note_submits_changed() to service_role;

create trigger submits_added
after insert on copperplate.submits
referencing new table as added
for each statement execute function copperplate.note_submits_changed();

create trigger submits_changed
after update on copperplate.submits
referencing old table as removed new table as added
for each statement execute function copperplate.note_submits_changed();

create trigger submits_removed
after delete on copperplate.submits
referencing old table as removed
for each statement execute function copperplate.note_submits_changed();

create function copperplate.fold_money()
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    with gone as (
        delete from copperplate.money_totals as m
        where m.ctid = any(array(
            select o.ctid from copperplate.money_totals as o limit 5000 for update skip locked
        ))
        returning m.*
    )
    insert into copperplate.money_totals (
        day, kind, provider, model, submits, estimated, unpriced, spent_micro_usd, saved, unpriced_saved,
        saved_micro_usd
    )
    select
        g.day, g.kind, g.provider, g.model, sum(g.submits), sum(g.estimated), sum(g.unpriced), sum(g.spent_micro_usd),
        sum(g.saved), sum(g.unpriced_saved), sum(g.saved_micro_usd)
    from gone as g
    group by g.day, g.kind, g.provider, g.model;
$$;

comment on function copperplate.fold_money() is
'Merges the totals of money into one row a day, kind, provider and model; concurrent calls split the work.';
revoke all on function copperplate.fold_money() from public, anon, authenticated;
grant execute on function copperplate.fold_money() to service_role;
