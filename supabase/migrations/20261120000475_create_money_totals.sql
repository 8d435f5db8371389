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

-- A submit counts under the day on which it was sent, what it saved under the day on which that is noted.
create function copperplate.add_money(p_submit copperplate.submits, p_times integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_price bigint := coalesce(p_submit.cost_micro_usd, p_submit.estimate_micro_usd);
    v_is_estimated boolean := p_submit.cost_micro_usd is null and v_price is not null;
begin
    insert into copperplate.money_totals (day, kind, provider, model, submits, estimated, unpriced, spent_micro_usd)
    values (
        (p_submit.sent_at at time zone 'UTC')::date, p_submit.kind, p_submit.provider, p_submit.model, p_times,
        v_is_estimated::integer * p_times, (v_price is null)::integer * p_times, coalesce(v_price, 0) * p_times
    );
    if p_submit.saved > 0 then
        insert into copperplate.money_totals (day, kind, provider, model, saved, unpriced_saved, saved_micro_usd)
        values (
            (copperplate.clock() at time zone 'UTC')::date, p_submit.kind, p_submit.provider, p_submit.model,
            p_submit.saved * p_times, (v_price is null)::integer * p_submit.saved * p_times,
            p_submit.saved * coalesce(v_price, 0) * p_times
        );
    end if;
end;
$$;

comment on function copperplate.add_money(copperplate.submits, integer) is
'Add a submit and what it saved to the totals p_times, 1 or -1.';
revoke all on function copperplate.add_money(copperplate.submits, integer) from public, anon, authenticated;
grant execute on function copperplate.add_money(copperplate.submits, integer) to service_role;

create function copperplate.note_submit()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        perform copperplate.add_money(old, -1);
    end if;
    if tg_op <> 'DELETE' then
        perform copperplate.add_money(new, 1);
    end if;
    return null;
end;
$$;

comment on function copperplate.note_submit() is
'Keeps the totals of money equal to the book where a submit is added, removed, or counted under another name or day.';
revoke all on function copperplate.note_submit() from public, anon, authenticated;
grant execute on function copperplate.note_submit() to service_role;

create trigger submits_added_or_removed
after insert or delete on copperplate.submits
for each row execute function copperplate.note_submit();

create trigger submits_renamed
after update on copperplate.submits
for each row
when (
    (old.id, old.sent_at, old.kind, old.provider, old.model)
    is distinct from (new.id, new.sent_at, new.kind, new.provider, new.model)
)
execute function copperplate.note_submit();

-- One statement for all rows: a batch of usage counts what hundreds of submits saved.
create function copperplate.note_prices_and_savings()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.money_totals (
        day, kind, provider, model, estimated, unpriced, spent_micro_usd, saved, unpriced_saved, saved_micro_usd
    )
    select
        t.day, c.kind, c.provider, c.model, sum(t.estimated), sum(t.unpriced), sum(t.spent), sum(t.saved),
        sum(t.unpriced_saved), sum(t.saved_micro_usd)
    from (
        select
            a.sent_at, a.kind, a.provider, a.model, a.saved, r.saved as was_saved,
            a.cost_micro_usd is null as is_open, coalesce(a.cost_micro_usd, a.estimate_micro_usd) as price,
            r.cost_micro_usd is null as was_open, coalesce(r.cost_micro_usd, r.estimate_micro_usd) as was_price
        from added as a
        inner join removed as r
            on (a.id, a.sent_at, a.kind, a.provider, a.model) = (r.id, r.sent_at, r.kind, r.provider, r.model)
    ) as c
    cross join lateral (
        values
        (
            (c.sent_at at time zone 'UTC')::date,
            (c.is_open and c.price is not null)::integer - (c.was_open and c.was_price is not null)::integer,
            (c.price is null)::integer - (c.was_price is null)::integer,
            coalesce(c.price, 0) - coalesce(c.was_price, 0), 0, 0, 0
        ),
        (
            (copperplate.clock() at time zone 'UTC')::date, 0, 0, 0, c.saved - c.was_saved,
            (c.price is null)::integer * c.saved - (c.was_price is null)::integer * c.was_saved,
            c.saved * coalesce(c.price, 0) - c.was_saved * coalesce(c.was_price, 0)
        )
    ) as t (day, estimated, unpriced, spent, saved, unpriced_saved, saved_micro_usd)
    where (t.estimated, t.unpriced, t.spent, t.saved, t.unpriced_saved, t.saved_micro_usd) <> (0, 0, 0, 0, 0, 0)
    group by t.day, c.kind, c.provider, c.model;
    return null;
end;
$$;

comment on function copperplate.note_prices_and_savings() is
'Adds to the totals of money by how much the prices and savings of these submits differ from what they were.';
revoke all on function copperplate.note_prices_and_savings() from public, anon, authenticated;
grant execute on function copperplate.note_prices_and_savings() to service_role;

create trigger submits_changed
after update on copperplate.submits
referencing old table as removed new table as added
for each statement execute function copperplate.note_prices_and_savings();

create function copperplate.fold_money()
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
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
end;
$$;

comment on function copperplate.fold_money() is
'Merges the totals of money into one row a day, kind, provider and model; concurrent calls split the work.';
revoke all on function copperplate.fold_money() from public, anon, authenticated;
grant execute on function copperplate.fold_money() to service_role;
