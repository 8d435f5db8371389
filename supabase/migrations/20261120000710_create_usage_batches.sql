-- Batches of counts that were taken, so that one that is sent again changes nothing. A process sends a batch for an
-- hour at most (usage.py), and its id is kept for two.
create table copperplate.usage_batches (
    id uuid not null,
    recorded_at timestamptz not null,
    constraint usage_batches_pkey primary key (id)
);

create index usage_batches_recorded_idx on copperplate.usage_batches (recorded_at);

comment on table copperplate.usage_batches is
'Batches of counts taken within the last two hours. Row-level security is on without a policy.';

alter table copperplate.usage_batches enable row level security;
revoke all on table copperplate.usage_batches from public, anon, authenticated, service_role;
-- To lock a row takes the right to update it.
grant select, insert, update, delete on table copperplate.usage_batches to service_role;

create function copperplate.forget_old_batches(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    delete from copperplate.usage_batches as b
    where b.id = any(array(
        select o.id
        from copperplate.usage_batches as o
        where o.recorded_at < copperplate.clock() - interval '2 hours'
        order by o.recorded_at
        limit p_limit
        for update skip locked
    ));
end;
$$;

comment on function copperplate.forget_old_batches(integer) is
'Forget ids of batches that nobody sends any more, at most p_limit.';
revoke all on function copperplate.forget_old_batches(integer) from public, anon, authenticated;
grant execute on function copperplate.forget_old_batches(integer) to service_role;
